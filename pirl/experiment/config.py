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
        path: the YAML file; its stem is the run's name.

    Returns:
        The settings with every default filled in, and `run` = the file's stem.

    Raises:
        ExperimentError: naming the file, the key and what is allowed.
    """
    path = Path(path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ExperimentError(f"{path}: no such file; configs/ holds the shipped ones") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path}: not valid YAML: {error}") from None
    schema = yaml.safe_load(SCHEMA_PATH.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(settings))
    if fault is not None:
        key = ".".join(str(part) for part in fault.absolute_path)
        raise ExperimentError(f"{path}: {key + ': ' if key else ''}{_explain(fault)}")
    return {"run": path.stem, **_with_defaults(settings, schema)}


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
