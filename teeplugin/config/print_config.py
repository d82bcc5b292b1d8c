"""The settings as a commented YAML file for `--print-config`; it can be used as a file again."""

import re
from collections.abc import Iterator

from teeplugin.config.given import OPTIONS_KEY
from teeplugin.config.settings import SETTINGS
from teeplugin.config.sources import Loaded

_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./+-]*")
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_WIDEST_ALIGNED = 48


def as_yaml(loaded: Loaded) -> str:
    """Write every setting on a line, with a comment on where its value came from."""
    rows = list(_rows(loaded))
    width = max(len(text) for text, _ in rows if len(text) <= _WIDEST_ALIGNED)
    return "".join(f"{text.ljust(width)}   # {origin}\n" for text, origin in rows)


def _rows(loaded: Loaded) -> Iterator[tuple[str, str]]:
    for key, setting in SETTINGS.items():
        value = getattr(loaded.settings, setting.attribute)
        origin = loaded.provenance[key]
        if key == OPTIONS_KEY:
            yield f"{key}:" if value else f"{key}: {{}}", origin
            for name, text in value.items():
                yield f"  {_scalar(name)}: {_scalar(text)}", loaded.provenance[f"{key}.{name}"]
        elif (text := setting.text_in(loaded.settings)) is None:
            yield f"{key}: null", f"{origin}: {setting.default}"
        else:
            yield f"{key}: {_scalar(text)}", origin


def _scalar(text: str) -> str:
    """Write a text so that YAML reads it as itself: plain if it is, else quoted and escaped."""
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isascii() and letter.isprintable() else f"\\U{ord(letter):08x}"
