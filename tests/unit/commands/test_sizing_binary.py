"""A TA's ELF file is counted by its segments, and any other bytes are refused in one line."""

from pathlib import Path

import pytest

from teeplugin.commands.sizing.binary import code_bytes
from teeplugin.config.settings import ConfigError
from tests.unit.commands.sizing_files import elf


def test_the_segments_of_a_binary_are_counted_in_pages(here: Path) -> None:
    binary = here / "libcombine.so"
    binary.write_bytes(elf((0, 1), (0x1FF0, 0x20), (0x3000, 0x1000)))
    assert code_bytes(str(binary)) == (1 + 2 + 1) * 4096


BINARIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no ELF file"),
    "text": (b"gpd.ta.dataSize: 81920", "is no ELF file"),
    "signed": (b"\x5a\xa5\x5a\xa5" + bytes(60), "is signed"),
    "cut in its first bytes": (elf((0, 4096))[:10], "is no ELF file"),
    "cut in its header": (elf((0, 4096))[:40], "ends before its headers do"),
    "cut in its program headers": (elf((0, 4096))[:100], "ends before its headers do"),
    "big-endian": (b"\x7fELF\x02\x02" + elf((0, 4096))[6:], "no little-endian ELF file"),
    "of 128 bits": (b"\x7fELF\x03\x01" + elf((0, 4096))[6:], "no little-endian ELF file"),
    "for this machine": (elf((0, 4096), machine=62), "for another machine than Arm or AArch64"),
    "an object": (elf((0, 4096), kind=1), "is no shared object"),
    "no program headers": (elf(count=0), "has no segments that make sense"),
    "too many headers": (elf(count=65), "make no sense"),
    "other headers": (elf((0, 4096), program_bytes=32), "make no sense"),
    "nothing loaded": (elf((0, 0)), "has no segments that make sense"),
    "endless segments": (elf((2**64 - 1, 2**64 - 1)), "has no segments that make sense"),
}


@pytest.mark.parametrize("name", BINARIES)
def test_what_is_no_binary_of_a_ta_is_refused(here: Path, name: str) -> None:
    content, part = BINARIES[name]
    (here / "ta.so").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        code_bytes("ta.so")
    assert str(caught.value).startswith("ta.so: ")
    assert part in str(caught.value)
    assert "give the TA's libcombine.so" in str(caught.value)
