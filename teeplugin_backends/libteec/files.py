"""Looks for the files, sockets and processes that a query through libteec needs."""

import os
import stat
import struct
from pathlib import Path

_DIRECTORIES = ("/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/local/lib64", "/usr/local/lib")
_LOADER_CACHE = Path("/etc/ld.so.cache")


def find_library(names: tuple[str, ...]) -> str:
    """Look for the first of these libraries where the loader would; empty if there is none."""
    searched = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_DIRECTORIES]
    try:
        cache = _LOADER_CACHE.read_bytes()
    except OSError:
        cache = b""
    for name in names:
        if name.startswith("/"):
            return name if Path(name).exists() else ""
        for directory in filter(None, searched):
            if (path := Path(directory) / name).exists():
                return str(path)
        if listed := _listed(cache, name):
            return listed
    return ""


def _listed(cache: bytes, name: str) -> str:
    """Look for a library in the cache's own list of paths, each ended by a zero."""
    ending = b"/" + name.encode()
    for text in cache.split(b"\0")[:-1]:
        # The first path has the end of a binary table before it.
        if text.endswith(ending) and text.find(b"/") < len(text) - len(ending):
            return os.fsdecode(text[text.find(b"/") :])
    return ""


def has_symbol(library: str, symbols: tuple[str, ...]) -> bool:
    """Whether one of these symbols is named in a library, which isn't loaded for it."""
    try:
        content = Path(library).read_bytes()
    except OSError:
        return False
    return any(b"\0%b\0" % symbol.encode() in content for symbol in symbols)


def problem_of_application(path: Path) -> str:
    """What is wrong with the file of a trusted application; empty if nothing is."""
    try:
        status, real = path.stat(), path.resolve()
    except FileNotFoundError:
        return "isn't there"
    except OSError as error:
        return f"can't be inspected ({error.strerror})"
    problems = {
        "is not a file": not stat.S_ISREG(status.st_mode),
        "is empty": not status.st_size,
        "can't be read by the plugin's user": not os.access(path, os.R_OK),
        f"is a link to {real}, which doesn't end in .sec": real.suffix != ".sec",
    }
    return next((problem for problem, is_so in problems.items() if is_so), _damage(path))


_SIGNED = struct.Struct("<IHHI")
"""The beginning of a signed file: two magic numbers, a version, the length of what follows."""

_MAGIC = (0xA5A55A5A, 0x55AA)
_OLDEST_VERSION = 3
"""Files of an older version have another header; today's signing tool makes none."""

_HEADER_BYTES = 16
_LARGEST_BYTES = 8 * 1024 * 1024
"""iTrustee's library reads no larger one."""


def _damage(path: Path) -> str:
    """What is wrong with the content of a file that can be read, as far as its length tells."""
    try:
        with path.open("rb") as file:
            head, there = file.read(_SIGNED.size), os.fstat(file.fileno()).st_size
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if len(head) < _SIGNED.size:
        return f"is damaged: it has {there} bytes"
    *magic, version, content = _SIGNED.unpack(head)
    if tuple(magic) != _MAGIC or version < _OLDEST_VERSION:
        return "is not a file of the signing tool, or is damaged: its first bytes are wrong"
    if (meant := content + _HEADER_BYTES) > _LARGEST_BYTES:
        return f"is too large: {meant} bytes, and the library reads at most {_LARGEST_BYTES}"
    return f"is truncated: {there} of {meant} bytes" if there < meant else ""


_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""The inode that Linux gives it; no other namespace ever has it."""


def sees_all_processes() -> bool:
    """Whether we are on the host itself, as far as processes go."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _INITIAL_PID_NAMESPACE
    except OSError:
        return False


def process_runs(name: str) -> bool:
    """Whether a process of this name is seen from here."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text(encoding="utf-8", errors="replace").strip() == name:
                return True
        except OSError:
            continue
    return False
