"""Writes completion scripts for bash and zsh from a list of commands with their flags."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from teeplugin.cli.console import PROGRAM

_BASH = r"""# bash completion for {program}; made by: {program} completion bash
_tee_device_plugin() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command='' flags='' words='' kind='' word
    # bash splits --flag=value at the equals sign.
    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    ((COMP_CWORD > 1)) && command=${{COMP_WORDS[1]}}
    case $command in
{cases}
    esac
    COMPREPLY=()
    if [[ $kind == value ]]; then
        return
    elif [[ -z $words && $current == -* ]]; then
        words=$flags
    fi
    while IFS= read -r word; do
        [[ -n $word ]] && COMPREPLY+=("$word")
    done < <(
        [[ -n $words ]] && compgen -W "$words" -- "$current"
        [[ $kind == file ]] && compgen -f -- "$current"
        [[ $kind == directory ]] && compgen -d -- "$current"
    )
    if [[ $kind == file || $kind == directory ]]; then
        compopt -o filenames 2> /dev/null
    fi
}}
complete -F _tee_device_plugin {program}
"""

_ZSH = r"""#compdef {program}
# zsh completion for {program}; made by: {program} completion zsh
_{program}() {{
    local command= previous=${{words[CURRENT-1]}}
    local -a flags
    if [[ $PREFIX == -*=* ]]; then
        previous=${{PREFIX%%=*}}
        compset -P '*='
    fi
    ((CURRENT > 2)) && command=${{words[2]}}
    case $command in
{cases}
    esac
}}
if [[ ${{funcstack[1]}} == _{program} ]]; then
    _{program} "$@"
else
    compdef _{program} {program}
fi
"""


class Kind(Enum):
    """What a value or a word is completed with."""

    NONE = ""
    """There is no value."""

    TEXT = "value"
    """Nothing: it is for the user to type."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag by one of its names; `words` are values to choose from, if there are any."""

    name: str
    help: str
    kind: Kind = Kind.NONE
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What a command completes; the one without a name is the daemon, for all other words."""

    name: str
    summary: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...] = ()
    kind: Kind = Kind.NONE


def bash(offers: Sequence[Offer]) -> str:
    """Write the script for bash 4.2 or later."""
    cases = "\n".join(line for offer in _last_is_default(offers) for line in _bash_case(offer))
    return _BASH.format(program=PROGRAM, cases=cases)


def zsh(offers: Sequence[Offer]) -> str:
    """Write the script for zsh, to be loaded by source or found in fpath."""
    summaries = {offer.name: offer.summary for offer in offers}
    cases = "\n".join(
        line for offer in _last_is_default(offers) for line in _zsh_case(offer, summaries)
    )
    return _ZSH.format(program=PROGRAM, cases=cases)


def _last_is_default(offers: Sequence[Offer]) -> list[Offer]:
    return sorted(offers, key=lambda each: not each.name)


def _with_value(offer: Offer) -> Iterator[tuple[str, Flag]]:
    """Give patterns for a shell's `case`, and a flag that stands for all that it matches."""
    groups: dict[tuple[Kind, tuple[str, ...]], list[Flag]] = {}
    for flag in offer.flags:
        if flag.kind is not Kind.NONE or flag.words:
            groups.setdefault((flag.kind, flag.words), []).append(flag)
    for flags in groups.values():
        yield "|".join(flag.name for flag in flags), flags[0]


def _bash_case(offer: Offer) -> Iterator[str]:
    yield f"    {offer.name or '*'})"
    yield f"        flags={_quoted(' '.join(flag.name for flag in offer.flags))}"
    yield "        case $previous in"
    for pattern, flag in _with_value(offer):
        words = f"words={_quoted(' '.join(flag.words))}" if flag.words else ""
        kind = "" if flag.words and flag.kind is Kind.TEXT else f"kind='{flag.kind.value}'"
        yield f"        {pattern}) {' '.join(filter(None, (words, kind)))} ;;"
    words = " ".join(offer.words)
    yield "        *) [[ $current == -* ]] ||"
    yield f"            {{ words={_quoted(words)}; kind='{offer.kind.value}'; }} ;;"
    yield "        esac ;;"


def _zsh_case(offer: Offer, summaries: dict[str, str]) -> Iterator[str]:
    yield f"    {offer.name or '*'})"
    yield "        case $previous in"
    for pattern, flag in _with_value(offer):
        adds = [f"compadd -- {' '.join(map(_quoted, flag.words))}"] if flag.words else []
        files = {Kind.FILE: "_files", Kind.DIRECTORY: "_files -/"}.get(flag.kind)
        adds += [files] if files else []
        does = "; ".join(adds or [f"_message {_quoted(flag.help)}"])
        yield f"        {pattern}) {does}; return ;;"
    yield "        esac"
    yield f"        flags=({' '.join(_described(flag.name, flag.help) for flag in offer.flags)})"
    yield "        if [[ $PREFIX == -* ]]; then"
    yield "            _describe -o flag flags"
    yield "        else"
    if offer.words:
        words = (_described(word, summaries.get(word, "")) for word in offer.words)
        yield f"            flags=({' '.join(words)})"
        yield "            _describe word flags"
    yield "            _files" if offer.kind is Kind.FILE else "            :"
    yield "        fi ;;"


def _described(name: str, text: str) -> str:
    """Write a name and its text as `_describe` takes them."""
    return _quoted(f"{name}:{text}" if text else name)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
