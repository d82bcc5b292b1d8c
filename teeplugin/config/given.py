"""A value as somebody wrote it, and where: what every source of settings is read into."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from teeplugin.config.settings import ConfigError, Setting, shown
from teeplugin.config.typography import typographic_note

OPTIONS_KEY = "backend-options"


class Given(NamedTuple):
    """A value as somebody wrote it: its text, None for YAML's null, and where.

    `place` and the text begin an error line; `spelling` and an example show how to write it.
    """

    text: str | None
    origin: str
    place: str
    spelling: str

    def refused(self, fault: str, fix: str) -> ConfigError:
        """Make the one line that names value, rule and fix."""
        value = "null" if self.text is None else shown(self.text)
        if note := typographic_note(self.text):
            fault = f"{fault}, and it {note}"
        return ConfigError(f"{self.place}{value}: {fault}: {fix}")

    def breaks(self, setting: Setting, fault: str, fix: str | None = None) -> ConfigError:
        """Make the line for a broken rule, with the example spelled as this value was."""
        example = f"{self.spelling}{setting.example}"
        return self.refused(fault, f"give {fix or setting.rule}, e.g. {example}")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source gives: values by setting, and the backend's options by name."""

    values: dict[str, Given] = field(default_factory=dict)
    options: dict[str, Given] = field(default_factory=dict)


def config_path(file: Given) -> Path:
    """Give the configuration file's path.

    Raises:
        ConfigError: the flag was given an empty text.
    """
    if not file.text:
        raise file.refused("no file is named", f"give a YAML file, e.g. {file.spelling}plugin.yaml")
    return Path(file.text)
