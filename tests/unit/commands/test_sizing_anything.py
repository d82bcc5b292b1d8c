"""Whatever bytes a file has, it is a description or a binary, or the command's own error."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teeplugin.commands.sizing.binary import code_bytes
from teeplugin.commands.sizing.files import read_description
from teeplugin.config.settings import ConfigError
from tests.unit.commands.sizing_files import DATA, configs_xml, elf


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "anything"


XML = configs_xml("<heap_size>81920</heap_size><stack_size>8192</stack_size>").encode()
MANIFEST = (DATA / "plugin.txt").read_bytes()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file with some bytes of it replaced by others."""
    content = draw(st.sampled_from([XML, MANIFEST, elf((0, 4096), (4096, 10))]))
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(len(content), start + 30)))
    return content[:start] + draw(st.binary(max_size=30)) + content[end:]


ANYTHING = st.one_of(
    damaged(),
    st.binary(max_size=300),
    st.binary(max_size=100).map(lambda tail: b"<?xml version='1.0' encoding='" + tail),
    st.binary(max_size=100).map(lambda tail: b"<ConfigInfo><TA_Manifest_Info><heap_size>" + tail),
    st.binary(max_size=100).map(lambda tail: b"gpd.ta.dataSize:" + tail),
    st.binary(max_size=100).map(lambda tail: elf((0, 4096))[:16] + tail),
)


@given(ANYTHING)
@example(b"<?xml version='1.0' encoding='base64'?>")
@example(b"<?xml version='1.0' encoding='utf-7'?>")
def test_any_bytes_are_a_description_or_one_line(scratch: Path, content: bytes) -> None:
    scratch.write_bytes(content)
    try:
        read_description(str(scratch))
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other exception fails the test
        assert str(scratch) in str(error)  # noqa: PT017 - likewise


@given(ANYTHING)
def test_any_bytes_are_a_binary_or_one_line(scratch: Path, content: bytes) -> None:
    scratch.write_bytes(content)
    try:
        assert code_bytes(str(scratch)) > 0
    except ConfigError as error:
        assert str(scratch) in str(error)  # noqa: PT017 - any other exception fails the test
