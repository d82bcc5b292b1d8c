"""Reads the files that a command is given, into a description for each TA."""

import codecs
from collections.abc import Sequence
from dataclasses import replace

from teeplugin.commands.sizing.binary import is_binary
from teeplugin.commands.sizing.description import COMPARED, Description
from teeplugin.commands.sizing.opening import STANDARD_INPUT, opened, unreadable
from teeplugin.config.settings import ConfigError, shown, shown_path

MAX_FILE_BYTES = 1024**2
"""A description has hundreds of bytes; this keeps one without end from filling the memory."""

MAX_TAS = 64
"""Far more than one container has."""

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_descriptions(paths: Sequence[str]) -> tuple[Description, ...]:
    """Read the files, in their order; configs.xml and manifest.txt of one TA count as one.

    Raises:
        ConfigError: a file can't be used, or two say different things of one UUID.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise ConfigError("-: standard input can be read once: give each other TA as a file")
    found: list[Description] = []
    for path in paths:
        new = read_description(path)
        twin = next((at for at, old in enumerate(found) if old.uuid and old.uuid == new.uuid), None)
        if twin is None:
            found.append(new)
        else:
            found[twin] = _merged(found[twin], new)
        if len(found) > MAX_TAS:
            raise ConfigError(
                f"{len(found)} TAs and more: a container has fewer: give its own only"
            )
    return tuple(found)


def read_description(path: str) -> Description:
    """Read one file; whether it is XML is seen from how it begins, not from its name.

    Raises:
        ConfigError: it can't be read, or is neither a configs.xml nor a manifest.txt.
    """
    name = shown_path(path)
    content = _content(path)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{name}: has more than 1 MiB, so it is no description of a TA: "
            "give a configs.xml or a manifest.txt"
        )
    if is_binary(content):
        raise ConfigError(
            f"{name}: is a TA's binary: give its configs.xml or manifest.txt, and with --binary "
            "its libcombine.so"
        )
    if content.startswith(_UTF16_MARKS) and not _decoded(content).lstrip().startswith("<"):
        raise ConfigError(f"{name}: is in UTF-16: save it as UTF-8")
    if content.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"<", *_UTF16_MARKS)):
        # Loads the parser, which manifests don't need.
        from teeplugin.commands.sizing.configs_xml import read_configs_xml  # noqa: PLC0415

        return read_configs_xml(path, content)
    from teeplugin.commands.sizing.manifest_txt import read_manifest_txt  # noqa: PLC0415 - as its sister

    return read_manifest_txt(path, content)


def _content(path: str) -> bytes:
    with opened(path, may_be_input=True) as stream:
        try:
            return stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise unreadable(path, error.strerror or "unknown error") from None


def _decoded(content: bytes) -> str:
    """Decode UTF-16 by its mark; what is broken in it, the parser will tell."""
    return content.decode("utf-16", "replace")


def _merged(old: Description, new: Description) -> Description:
    """Take two files that describe one TA for one, if they are of both kinds and agree."""
    if new.kinds[0] in old.kinds:
        raise ConfigError(
            f"{new.place('uuid')}: {new.uuid} is the UUID of the TA in "
            f"{shown_path(old.files[0])} too: "
            "give each TA once, with a UUID of its own"
        )
    for tag in COMPARED:
        ours, theirs = new.value(tag), old.value(tag)
        if ours != theirs and ours and theirs:
            raise ConfigError(
                f"{new.place(tag)}: {shown(ours)}, but {old.place(tag)}: {shown(theirs)}, for "
                "the same UUID: make them agree, or the signed TA is refused"
            )
    return replace(
        old,
        files=old.files + new.files,
        kinds=old.kinds + new.kinds,
        service_name=old.service_name or new.service_name,
        target_type=old.target_type or new.target_type,
        written={**new.written, **old.written},
        doubts=old.doubts + new.doubts,
    )
