"""Recognises dashes and quotes that a word processor or a web page has put in for typed ones.

The shell and YAML take them for letters, and on a screen they look like what was meant.
"""

from collections.abc import Iterable
from typing import Final

from teeplugin.config.settings import ConfigError, shown

_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_QUOTES: Final = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
_LONG_DASHES: Final = "\u2014\u2015"
"""What two hyphens become."""


def check_words(words: Iterable[str]) -> None:
    """Refuse words of a command line that begin with such a dash, or stand in such quotes.

    Raises:
        ConfigError: there is such a word.
    """
    for word in words:
        if not word.isascii():
            _check(word)


def typographic_note(text: str | None) -> str:
    """Say what is typographic at a value's ends; empty where nothing is."""
    if text and (quote := _quote(text)):
        return f"has a typographic quote ({_name(quote)})"
    if text and text[0] in _DASHES:
        return f"begins with a typographic dash ({_name(text[0])})"
    return ""


def _check(word: str) -> None:
    name = word.lstrip(f"-{_DASHES}")
    if word[0] in _DASHES and name[:1].isalpha():
        hyphens = "--" if word[0] in _LONG_DASHES or len(word) - len(name) > 1 else "-"
        raise ConfigError(
            f"{shown(word)}: begins with a typographic dash ({_name(word[0])}), not with a hyphen: "
            f"write {hyphens}{shown(name)}"
        )
    for part in (word.partition("=")[2], word):
        if quote := _quote(part):
            plain = part.strip(_QUOTES)
            raise ConfigError(
                f"{shown(word)}: has a typographic quote ({_name(quote)}), which the shell takes "
                f"for a letter: write {word.removesuffix(part)}'{plain}'"
            )


def _quote(text: str) -> str:
    """Give the quote that a text begins or ends with; empty if there is none."""
    return next((text[end] for end in (0, -1) if text and text[end] in _QUOTES), "")


def _name(letter: str) -> str:
    return f"U+{ord(letter):04X}"
