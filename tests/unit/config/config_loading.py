"""Loads settings as the command line does, for the tests of config."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from teeplugin.config.settings import ConfigError
from teeplugin.config.sources import FlagValue, Loaded, load


def loaded_from(
    *flags: tuple[str, str],
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """Load as the command line would, with each flag written `--key`."""
    values = [FlagValue(key, f"--{key}", text) for key, text in flags]
    if file is not None:
        values.append(FlagValue("config", "--config", str(file)))
    return load(values, environ or {})


def refusal(
    *flags: tuple[str, str],
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded_from(*flags, environ=environ, file=file)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    return str(caught.value)


def yaml_file(directory: Path, text: str) -> Path:
    file = directory / "plugin.yaml"
    file.write_text(text, encoding="utf-8")
    return file
