"""What the way through libteec reads of the node: the loader's cache, and /etc/passwd."""

from pathlib import Path

import pytest

from teeplugin_backends.libteec import files, helper

NAMES = ("libteec-of-a-test.so.2", "libteec-of-a-test.so")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ld.so.cache"
    monkeypatch.setattr(files, "_LOADER_CACHE", path)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return path


def test_the_cache_tells_where_a_library_is(cache: Path) -> None:
    cache.write_bytes(b"ld.so-1.7.0\0\x01\x02/opt/tee/libteec-of-a-test.so\0/lib/libc.so.6\0")
    assert files.find_library(NAMES) == "/opt/tee/libteec-of-a-test.so"


def test_the_names_are_looked_for_one_after_the_other(cache: Path) -> None:
    cache.write_bytes(b"\0".join(f"/opt/{name}".encode() for name in reversed(NAMES)) + b"\0")
    assert files.find_library(NAMES) == f"/opt/{NAMES[0]}"


def test_a_directory_comes_before_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_bytes(f"/opt/{NAMES[0]}\0".encode())
    (tmp_path / NAMES[0]).touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}")
    assert files.find_library(NAMES) == str(tmp_path / NAMES[0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"/opt/libteec-of-a-test.so",
        b"libteec-of-a-test.so\0",
        b"/opt/another-libteec-of-a-test.so\0",
        b"/opt/libteec-of-a-test.so.1\0",
        b"/" * 1_000_000,
    ],
    ids=["empty", "no zero", "no directory", "longer before", "longer behind", "much of nothing"],
)
def test_what_the_cache_does_not_list_is_not_there(cache: Path, content: bytes) -> None:
    cache.write_bytes(content)
    assert files.find_library(NAMES) == ""


def test_without_a_cache_nothing_is_there(cache: Path) -> None:
    assert not cache.exists()
    assert files.find_library(NAMES) == ""


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("root:x:0:0:root:/root:/bin/sh\n", "root"),
        ("daemon:x:1:0\nca:x:0:5\nroot:x:0:0\n", "ca"),
        ("ca:x:0:5", "ca"),
        ("ca:x:00:5\nca:x:10:0\n", None),
        ("short:x:0", None),
        ("\n:\n", None),
        ("", None),
    ],
    ids=["usual", "the first", "no end of line", "other numbers", "no gid", "no rows", "empty"],
)
def test_a_uid_s_name_is_that_of_its_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, name: str | None
) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(content)
    monkeypatch.setattr(helper, "open", lambda _, mode: passwd.open(mode), raising=False)
    assert helper.passwd_name(0) == name
