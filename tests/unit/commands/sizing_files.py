"""What the tests of sizing share: files that describe TAs, an ELF file, the commands called."""

import contextlib
import io
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from teeplugin.commands.sizing import pod_command, size_command
from teeplugin.commands.sizing.files import read_descriptions
from teeplugin.config.settings import ConfigError

DATA = Path(__file__).parent / "sizing"
HEAP, STACK = "<heap_size>81920</heap_size>", "<stack_size>8192</stack_size>"
OTHER_UUID = "89abcdef-0123-4567-89ab-cdef01234567"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
AARCH64 = 183


def configs_xml(manifest: str = "", basic: str | None = None) -> str:
    basic = f"<uuid>{UUID}</uuid><service_name>demo</service_name>" if basic is None else basic
    return (
        "<ConfigInfo>\n"
        f"<TA_Basic_Info>{basic}</TA_Basic_Info>\n"
        f"<TA_Manifest_Info>\n{manifest}\n</TA_Manifest_Info>\n"
        "</ConfigInfo>\n"
    )


def elf(
    *segments: tuple[int, int],
    machine: int = AARCH64,
    kind: int = 3,
    program_bytes: int = 56,
    count: int | None = None,
) -> bytes:
    """A 64-bit ELF file of headers only, with loaded segments of these addresses and sizes."""
    count = len(segments) if count is None else count
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, program_bytes, count, 0, 0, 0
    )
    note = struct.pack("<IIQQQQQQ", 4, 4, 0, 10**9, 0, 0, 10**9, 8)  # PT_NOTE takes no memory
    rows = [struct.pack("<IIQQQQQQ", 1, 5, 0, at, at, 0, size, 4096) for at, size in segments]
    return ident + header + b"".join(rows) + note


def size(*words: str | Path) -> str:
    return _output(size_command.main, words)


def pod(*words: str | Path) -> str:
    return _output(pod_command.main, words)


def _output(main: Callable[[Sequence[str]], int], words: Sequence[str | Path]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main([str(word) for word in words]) == 0
    return output.getvalue()


def refusal(*words: str | Path, command: str = "size") -> str:
    main = {"size": size_command.main, "pod": pod_command.main}[command]
    with pytest.raises(ConfigError) as caught:
        main([str(word) for word in words])
    line = str(caught.value)
    assert "\n" not in line
    return line


def read_refusal(*files: str) -> str:
    """The one line with which files are refused."""
    with pytest.raises(ConfigError) as caught:
        read_descriptions(files)
    line = str(caught.value)
    assert "\n" not in line
    return line


def data(*words: str | Path) -> dict[str, Any]:
    """What `size` says as JSON."""
    found: dict[str, Any] = json.loads(size("--format", "json", *words))
    return found
