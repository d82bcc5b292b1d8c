"""Looks at teecd's socket: iTrustee's library needs 10 s to say that nobody listens there.

The library tries to connect 50 times, 200 ms apart (10.03 s, measured), before it returns. A look
at the socket gives the same answer at once.
"""

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Final

import anyio

from teeplugin_backends.base import Refused, TeeError, TimedOut, Unreachable
from teeplugin_backends.libteec.abi import ERROR_GENERIC
from teeplugin_backends.libteec.client import INITIALIZE, ITRUSTEE, OPTEE
from teeplugin_backends.libteec.options import AGENTS_NODE, ITRUSTEE_NODES, TEECD, Options
from teeplugin_backends.libteec.results import result_of

SOCKET: Final = f"{TEECD}/teecd.sock"

_YOUNG_SECONDS: Final = 0.5
"""teecd binds its socket, and listens some moments later: so long it may refuse connections."""

_LOOK_SECONDS: Final = 0.02

START: Final = (
    f"start teecd on the node (systemctl start teecd); in a container mount {TEECD} from the node, "
    "and restart the pod if the node created that directory again"
)
_BUSY = (
    f"find clients with idle connections to teecd (ss -xp | grep {SOCKET}): it serves one "
    "at a time and waits 3 s for each; if there is none, restart teecd"
)
_ONE_RELEASE = (
    "install libteec and teecd of one release; in a container mount the node's own libteec"
)
_LOGIN = (
    "give the plugin's container an /etc/passwd that names its user, and no user namespace of its "
    "own; see teecd's log on the node (journalctl -u teecd)"
)


def problem_of_socket(path: Path) -> str:
    """What is wrong with a socket and its directory, without connecting; empty if nothing is."""
    try:
        if not path.parent.stat().st_nlink:
            return f"{path.parent} was deleted and created again, and this mount of it is dead"
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return f"there is no {path}"
    except OSError as error:
        return f"{path} can't be inspected ({error.strerror})"
    return "" if is_socket else f"{path} is not a socket"


def problem_of_connecting(path: Path) -> str:
    """Likewise, by one connection, which costs teecd a line in its log."""
    if problem := problem_of_socket(path):
        return problem
    with socket(AF_UNIX, SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(os.fspath(path))
        except BlockingIOError:
            # Somebody listens, and has more connections waiting than it takes.
            return ""
        except ConnectionRefusedError:
            return f"no process listens at {path}"
        except OSError as error:
            return f"{path} can't be connected to ({error.strerror})"
    return ""


class Teecd:
    """What is known of teecd; `suspect` where the next query is to connect before it asks."""

    def __init__(self) -> None:
        self.suspect = False
        self._looks = 0

    async def look(self, vendor: str | None) -> None:
        """Look before a query, and connect only where something speaks against teecd.

        Without a `vendor` it isn't known yet whether there should be a teecd.

        Raises:
            Unreachable: there is no socket, or nobody listens there.
        """
        self._looks = 0
        if vendor != ITRUSTEE:
            return
        path = Path(SOCKET)
        look = problem_of_connecting if self.suspect else problem_of_socket
        while problem := look(path):
            if not _is_young(path):
                raise _not_running(problem)
            await anyio.sleep(_LOOK_SECONDS)

    def look_while_waiting(self, told: Mapping[str, str]) -> None:
        """Look while a helper is at a call; `told` is what it has told so far.

        Called in equal intervals, it connects at the 1st, 2nd, 4th, 8th and 16th time.

        Raises:
            Unreachable: as by `look`: the library would only try to connect again and again.
        """
        self._looks += 1
        if not _is_logging_in(told) or self._looks & (self._looks - 1):
            return
        if problem := problem_of_connecting(Path(SOCKET)):
            raise _not_running(problem)


def explain_login(error: TeeError, told: Mapping[str, str], said: str) -> TeeError:
    """Name the cause of a login that failed or didn't return; else give the error as it is.

    `said` is the last line of the library's own.
    """
    if not _is_logging_in(told):
        return error
    if problem := problem_of_connecting(Path(SOCKET)):
        return _not_running(problem)
    if isinstance(error, TimedOut):
        return TimedOut(f"{error}, though teecd accepts connections", fix=_BUSY)
    if result_of(told) != ERROR_GENERIC:
        return error
    if "version" in said:
        return Unreachable(f"{error}: libteec and teecd don't match", fix=_ONE_RELEASE)
    return Refused(f"{error}, though teecd runs", fix=_LOGIN)


def _is_logging_in(told: Mapping[str, str]) -> bool:
    return told.get("vendor") == ITRUSTEE and told.get("step") == INITIALIZE


def _is_young(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and 0 <= time.time() - status.st_ctime < _YOUNG_SECONDS


def _not_running(problem: str) -> Unreachable:
    return Unreachable(f"teecd is not running: {problem}", fix=START)


def watched(
    options: Options, flavour: str | None, host_root: Path
) -> tuple[list[Path], list[Path]]:
    """Name the files whose coming and going is worth a reading, and those that a daemon holds.

    Without a flavour those of either. iTrustee's own device node, which clients hold, isn't one:
    the plugin's own query would be an event.
    """
    node = host_root / "dev"
    paths, held = [], []
    if flavour != OPTEE:
        paths += [Path(SOCKET), host_root / TEECD.lstrip("/")]
        paths += [node / Path(name).name for name in (*ITRUSTEE_NODES, AGENTS_NODE)]
        held.append(node / Path(AGENTS_NODE).name)
    if flavour != ITRUSTEE:
        paths += [Path(options.device), host_root / options.device.lstrip("/")]
    return paths, held
