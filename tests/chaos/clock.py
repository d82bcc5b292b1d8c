"""A wall clock that can be set while programs run, by Debian's libfaketime."""

from pathlib import Path


def faketime_library() -> Path:
    """Find libfaketime now: the lab may have installed it since this module was imported.

    Raises:
        FileNotFoundError: it isn't installed.
    """
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        raise FileNotFoundError(
            "libfaketime isn't installed, and the clock is to be set: apt-get install faketime"
        )
    return found


class WallClock:
    """What the programs started with `environment` take for the time of the day.

    The time that deadlines go by, CLOCK_MONOTONIC, can't be set and isn't.

    Raises:
        FileNotFoundError: the library isn't installed.
    """

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(faketime_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            # Seconds. Without this it reads the file for whatever has to do with time, locks too.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # its name up to libfaketime 0.9.8
        }

    def set(self, seconds: int) -> None:
        """Be so many seconds ahead of the machine's clock, or behind it, within a second."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._offset)
