"""Unpacks the archive that this is the main module of: `python ARCHIVE FOLDER`, run by header.sh.

Of the extension modules only those of this Python and machine are taken. The folder is there as a
whole or not at all, also if another process unpacks the same at the same time.
"""

import re
import shutil
import signal
import sys
import tempfile
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_PROGRAM = "tee-device-plugin"
_FIX = "name a folder with SHIV_ROOT=, on a disk that is writable, has 50 MB and isn't noexec"
_TAGGED = re.compile(r".+(\.cpython-[^./]*\.so)")

_LAUNCHER = f"""\
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
if os.statvfs(here).f_flag & os.ST_NOEXEC:
    sys.exit(f"{_PROGRAM}: {{here}} is mounted noexec: {_FIX}")
sys.path.insert(0, os.path.join(here, "site-packages"))
from teeplugin.__main__ import run

run()
"""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the archive's packages to a folder that isn't there yet, and add the launcher.

    Raises:
        OSError: the folder can't be made or written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(scratch, [name for name in packed.namelist() if _is_ours(name)])
        (scratch / _PROGRAM).write_text(_LAUNCHER)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_ours(name: str) -> bool:
    tagged = _TAGGED.fullmatch(name)
    return name.startswith("site-packages/") and (not tagged or tagged[1] in EXTENSION_SUFFIXES)


def main(archive: str, folder: str) -> None:
    """Unpack, or end with one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        unpack(Path(archive), Path(folder))
    except OSError as error:
        # Another start may have been faster.
        if not Path(folder).exists():
            reason = error.strerror or error
            sys.exit(f"{_PROGRAM}: can't unpack to {Path(folder).parent}: {reason}: {_FIX}")


if __name__ == "__main__":
    main(*sys.argv)
