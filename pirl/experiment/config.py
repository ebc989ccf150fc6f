"""Loads `configs/<run>.yaml` against the schema that Snakemake validates too, and fills in defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import yaml

PROJECT_ROOT = Path(__file__).resolve().parents[2]
SCHEMA_PATH = PROJECT_ROOT / "workflow" / "schemas" / "config.schema.yaml"


class ExperimentError(ValueError):
    """The experiment's file is missing or wrong; the message names file, key and remedy."""


def load_experiment(path: str | Path) -> dict[str, Any]:
    """Read, validate and complete an experiment.

    Args:
        path: the YAML file; its stem is the run's name. Its keys override, group by group, those of the file
            it names as `base`.

    Returns:
        The settings with every default filled in and bases merged, and `run` = the file's stem.

    Raises:
        ExperimentError: naming the file, the key and what is allowed.
    """
    path = Path(path)
    settings = _read(path)
    schema = yaml.safe_load(SCHEMA_PATH.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(settings))
    if fault is not None:
        key = ".".join(str(part) for part in fault.absolute_path)
        raise ExperimentError(f"{path}: {key + ': ' if key else ''}{_explain(fault)}")
    return {"run": path.stem, **_with_defaults(settings, schema)}


def _read(path: Path, inherited_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's settings on top of its base's."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        user = f", the base of {inherited_by[-1]}" if inherited_by else ""
        raise ExperimentError(f"{path}: no such file{user}; configs/ holds the shipped ones") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("base"), str):
        return settings
    chain = (*inherited_by, path)
    base = path.parent / settings.pop("base")
    if base.resolve() in [member.resolve() for member in chain]:
        raise ExperimentError(f"{path}: base: {base} inherits from this file; break the circle")
    return _merge(_read(base, chain), settings)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` on top of `base`; groups are merged key by key, anything else is replaced."""
    both = {
        key: _merge(base[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | changes | both


def _explain(error: jsonschema.ValidationError) -> str:
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(known))
        return f"unknown key {', '.join(map(repr, unknown))}; known keys: {', '.join(known)}"
    return error.message


def _with_defaults(settings: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    complete = dict(settings)
    for key, rule in schema.get("properties", {}).items():
        value = complete.get(key, rule.get("default"))
        complete[key] = _with_defaults(value, rule) if "properties" in rule else value
    return complete
