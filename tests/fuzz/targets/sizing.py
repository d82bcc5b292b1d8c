"""Files that describe a TA, its binary, and the commands that read them and write a manifest."""

import contextlib
import io
import json
from collections.abc import Sequence
from typing import Any

import yaml

from teeplugin.commands.sizing import pod_command, size_command
from teeplugin.commands.sizing.binary import ELF_MAGIC, SEC_MAGIC, code_bytes
from teeplugin.commands.sizing.configs_xml import ROOT, SECTIONS
from teeplugin.commands.sizing.description import (
    DEFAULTS,
    LEAST_SIZE_BYTES,
    MAX_SIZE_BYTES,
    PAGE_BYTES,
)
from teeplugin.commands.sizing.files import read_description
from teeplugin.commands.sizing.manifest_txt import TAGS
from teeplugin.config.settings import ConfigError
from tests.fuzz.target import Target, as_text, check_line, in_memory, parts_of

FILES = ("FIRST", "SECOND")
"""What stands in an input's words for the files that follow them."""


def description(data: bytes) -> None:
    """A TA whose values keep their rules, or one line that names the file."""
    with in_memory(data) as path:
        try:
            found = read_description(path)
        except ConfigError as error:
            check_line(error, path)
            return
    unit_bytes = PAGE_BYTES if found.in_pages else 1
    for size_bytes in (found.heap_bytes, found.stack_bytes):
        assert LEAST_SIZE_BYTES <= size_bytes <= MAX_SIZE_BYTES * unit_bytes, found
        assert size_bytes % unit_bytes == 0, found
    assert found.name.isprintable(), found
    assert set(found.written) <= set(SECTIONS), found
    assert set(found.left_out) == set(DEFAULTS) - set(found.written), found


def binary(data: bytes) -> None:
    """Whole pages, whatever follows the headers, or one line that names the file."""
    with in_memory(data) as path, in_memory(data + b"\xff" * 64) as longer:
        try:
            size_bytes = code_bytes(path)
        except ConfigError as error:
            check_line(error, path)
            return
        assert size_bytes % PAGE_BYTES == 0, size_bytes
        assert 0 < size_bytes <= MAX_SIZE_BYTES, size_bytes
        assert code_bytes(longer) == size_bytes


def commands(data: bytes) -> None:
    """Words, one a line, and after zeros two files: tables and a manifest that YAML reads back."""
    head, *files = parts_of(data, 1 + len(FILES))
    with contextlib.ExitStack() as stack:
        words = as_text(head)
        if any(place in words for place in ("/proc", "/sys", "/dev", "--h")):
            return  # a file of the kernel's may wait; and help is no estimate
        for name, content in zip(FILES, files, strict=True):
            words = words.replace(name, stack.enter_context(in_memory(content)))
        argv = words.split("\n")
        common = [word for word in argv if not word.startswith(("--i", "--n", "--u", "--c", "--f"))]
        told = {form: _output(size_command, [*common, "--format", form]) for form in _FORMATS}
        manifest = _output(pod_command, argv)
    assert len({each is None for each in told.values()}) == 1, told
    if told["json"] is not None and told["yaml"] is not None:
        size = json.loads(told["json"])
        assert yaml.safe_load(told["yaml"]) == size
        assert size["asked_bytes"] == size["units"] * size["unit_bytes"] >= size["needed_bytes"]
        assert size["needed_bytes"] > size["asked_bytes"] - size["unit_bytes"]
    if manifest is not None:
        _check_pod(yaml.safe_load(manifest), argv)


_FORMATS = ("table", "json", "yaml")


def _output(command: Any, argv: Sequence[str]) -> str | None:
    """What a command writes; None where it refuses, in one line."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            assert command.main(argv) == 0
        except ConfigError as error:
            check_line(error)
            return None
    return output.getvalue()


def _check_pod(pod: Any, argv: Sequence[str]) -> None:
    """Everything is where it belongs, and texts are the ones that were given."""
    assert set(pod) == {"apiVersion", "kind", "metadata", "spec"}, pod
    (container,) = pod["spec"]["containers"]
    assert pod["metadata"]["name"] == container["name"]
    assert isinstance(container["name"], str), pod
    ((resource, units),) = container["resources"]["limits"].items()
    assert isinstance(resource, str), pod
    assert units > 0, pod
    given = dict(word.split("=", 1) for word in argv if word.startswith("--") and "=" in word)
    if argv.count("--image") == 0 and sum(word.startswith("--image=") for word in argv) == 1:
        assert container["image"] == given["--image"], pod


_XML = tuple(f"<{tag}>" for tag in (ROOT, *SECTIONS, *SECTIONS.values()))
_ENDS = tuple(f"</{tag}>" for tag in (ROOT, *SECTIONS, *SECTIONS.values()))
_ELF = (ELF_MAGIC + b"\x02\x01\x01", SEC_MAGIC, b"\x38\0\x01\0", b"\xb7\0", b"\x01\0\0\0\x05\0\0\0")

TARGETS = (
    Target(
        "configs-xml",
        description,
        words=(
            *(*_XML, *_ENDS, "<![CDATA[", "]]>", "<!DOCTYPE a [", "<!ENTITY a '", "&#10;"),
            *('<?xml version="1.0" encoding="', "utf-16", b"\xff\xfe", b"\xfe\xff"),
        ),
    ),
    Target(
        "manifest-txt", description, words=(*(f"\n{tag}: " for tag in TAGS), "true", b"\xc2\xa0")
    ),
    Target("ta-binary", binary, words=_ELF),
    Target(
        "size-and-pod",
        commands,
        words=(
            *("--image=", "--name=", "--user=", "--command=/", "--sessions=2", "--binary=SECOND"),
            *(
                "--precision=1024",
                "--resource-name=",
                *FILES,
                "\n--sessions\n",
                "gpd.ta.dataSize: ",
            ),
        ),
    ),
)
