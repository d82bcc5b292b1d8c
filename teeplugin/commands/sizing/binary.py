"""What a TA's ELF file takes when it is loaded, from its program headers."""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from teeplugin.commands.sizing.description import MAX_SIZE_BYTES, PAGE_BYTES
from teeplugin.commands.sizing.memory import page_up
from teeplugin.commands.sizing.opening import opened
from teeplugin.config.settings import ConfigError, shown_path

ELF_MAGIC: Final = b"\x7fELF"
SEC_MAGIC: Final = b"\x5a\xa5\x5a\xa5"
"""How a signed .sec begins: the signing tool's MAGIC1."""

_LITTLE_ENDIAN = 1
_SHARED_OBJECT = 3
_LOADED = 1
_MAX_HEADERS = 64
_MACHINES = {40: "Arm", 183: "AArch64"}
_IDENT_BYTES = 16
_FIX = "give the TA's libcombine.so, as it is before it is signed"


class _Header(NamedTuple):
    """An ELF file's header behind its first 16 bytes."""

    kind: int
    machine: int
    version: int
    entry: int
    program_offset: int
    section_offset: int
    flags: int
    header_bytes: int
    program_bytes: int
    program_count: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the two headers are laid out, and which fields of the program header are wanted."""

    header: struct.Struct
    program: struct.Struct
    address_at: int
    memory_bytes_at: int


_LAYOUTS = {
    1: _Layout(struct.Struct("<HHIIIIIHHH"), struct.Struct("<IIIIIIII"), 2, 5),
    2: _Layout(struct.Struct("<HHIQQQIHHH"), struct.Struct("<IIQQQQQQ"), 3, 6),
}
"""By ELF class: 32 and 64 bits."""


def is_binary(content: bytes) -> bool:
    """Whether a file that begins so is a TA's binary, signed or not."""
    return content.startswith((ELF_MAGIC, SEC_MAGIC))


def code_bytes(path: str) -> int:
    """Give the bytes of the pages that the segments of a TA's ELF file take.

    Raises:
        ConfigError: it can't be read, or is no TA's ELF file.
    """
    name = shown_path(path)
    with opened(path) as stream:
        try:
            layout = _layout(name, stream.read(_IDENT_BYTES))
            header = _Header(*layout.header.unpack(stream.read(layout.header.size)))
            _check(name, header, layout)
            stream.seek(header.program_offset)
            table = stream.read(layout.program.size * header.program_count)
            segments = list(layout.program.iter_unpack(table))
        except (struct.error, OSError, OverflowError, ValueError):  # a wild offset can't be sought
            raise _fault(name, "ends before its headers do") from None
    if len(segments) != header.program_count:
        raise _fault(name, "ends before its headers do")
    size_bytes = sum(
        page_up(each[layout.address_at] % PAGE_BYTES + each[layout.memory_bytes_at])
        for each in segments
        if each[0] == _LOADED
    )
    if not 0 < size_bytes <= MAX_SIZE_BYTES:
        raise _fault(name, "has no segments that make sense")
    return size_bytes


def _layout(name: str, ident: bytes) -> _Layout:
    if ident.startswith(SEC_MAGIC):
        raise _fault(name, "is signed and may be encrypted, so its size in memory can't be read")
    if not ident.startswith(ELF_MAGIC) or len(ident) < _IDENT_BYTES:
        raise _fault(name, "is no ELF file")
    layout = _LAYOUTS.get(ident[4])
    if layout is None or ident[5] != _LITTLE_ENDIAN:
        raise _fault(name, "is no little-endian ELF file of 32 or 64 bits")
    return layout


def _check(name: str, header: _Header, layout: _Layout) -> None:
    if header.machine not in _MACHINES:
        raise _fault(name, f"is for another machine than {' or '.join(_MACHINES.values())}")
    if header.kind != _SHARED_OBJECT:
        raise _fault(name, "is no shared object, as TAs are")
    if header.program_bytes != layout.program.size or header.program_count > _MAX_HEADERS:
        raise _fault(name, "has program headers that make no sense")


def _fault(name: str, fault: str) -> ConfigError:
    return ConfigError(f"{name}: {fault}: {_FIX}")
