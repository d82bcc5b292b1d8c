"""Looks for the files, sockets and processes that a query through libteec needs."""

import os
import stat
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
        return f"can't be looked at ({error.strerror})"
    problems = {
        "is no file": not stat.S_ISREG(status.st_mode),
        "is empty": not status.st_size,
        "can't be read by the plugin's user": not os.access(path, os.R_OK),
        f"is a link to {real}, which doesn't end in .sec": real.suffix != ".sec",
    }
    return next((problem for problem, is_so in problems.items() if is_so), "")


def problem_of_socket(path: Path) -> str:
    """What is wrong with a socket and its directory, without connecting; empty if nothing is."""
    try:
        if not path.parent.stat().st_nlink:
            return f"{path.parent} was deleted and made anew, and this mount of it is dead"
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return f"there is no {path}"
    except OSError as error:
        return f"{path} can't be looked at ({error.strerror})"
    return "" if is_socket else f"{path} is no socket"


def process_runs(name: str) -> bool:
    """Whether a process of this name is seen from here."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text(encoding="utf-8", errors="replace").strip() == name:
                return True
        except OSError:
            continue
    return False
