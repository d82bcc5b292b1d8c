"""One query in a process that can be killed.

libteec can hang where only SIGKILL ends it, crash, or end its process while it is loaded, so it is
never loaded by the plugin itself. What happens is told in lines `key value` as it happens, so that
the last call is known where none follows.
"""

import os
from ctypes import CDLL, byref, c_int, c_ulong

from teeplugin_backends.libteec import client, driver_info

TYPE_CHECKING = False  # typing's own costs the helper 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_SIG_BLOCK = 0
_SIGSET_WORDS = 1024 // 64
_CRASHES = (4, 5, 6, 7, 8, 11, 31)
"""SIGILL, TRAP, ABRT, BUS, FPE, SEGV and SYS: a crash must end the process."""

_STDOUT, _STDERR = 1, 2


def main(request: "Mapping[str, str]") -> None:
    """Ask once, tell all, and end the process; `request` is what process.py sends."""
    tell = _teller()
    _die_with(int(request["parent"]))
    _block_signals()
    try:
        total_bytes, free_bytes = _query(request, tell)
    except client.LibraryError as error:
        tell("problem", error.problem)
        tell("words", str(error))
    except client.CallError as error:
        tell("failed", error.step)
        tell("origin", str(error.origin))
        tell("result", str(error.result))
    except client.ReplyError as error:
        tell("problem", "rejected")
        tell("words", str(error))
    else:
        tell("total", str(total_bytes))
        tell("free", str(free_bytes))
        # From here on the reading stands, whatever comes.
        driver_info.tell_more(tell, request["log_node"], request["memstat"])
    # No destructors: neither the interpreter's, which take time, nor the library's.
    os._exit(0)


def _teller() -> "Callable[[str, str], None]":
    """Keep the answer to ourselves: whatever the library prints goes to standard error."""
    answer = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)

    def tell(key: str, value: str) -> None:
        line = f"{key} {' '.join(value.split())}\n"
        os.write(answer, line.encode("utf-8", "backslashreplace"))

    return tell


def _die_with(parent: int) -> None:
    """Have the kernel end us with the plugin, however that ends."""
    prctl = CDLL(None).prctl
    prctl.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)
    prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _block_signals() -> None:
    """Let no signal interrupt a call: EINTR fails iTrustee's login."""
    libc = CDLL(None)
    signals = (c_ulong * _SIGSET_WORDS)()
    libc.sigfillset(byref(signals))
    for number in _CRASHES:
        libc.sigdelset(byref(signals), number)
    libc.pthread_sigmask(_SIG_BLOCK, byref(signals), None)


def _query(request: "Mapping[str, str]", tell: "Callable[[str, str], None]") -> tuple[int, int]:
    if "LD_PRELOAD" in os.environ:
        raise client.LibraryError("preload", "LD_PRELOAD is set in the helper's environment")
    client.hear_library()
    library = client.load(request["libraries"].split("\n"), request["vendor"] or None, tell)
    tell("vendor", library.vendor)
    if library.vendor == client.OPTEE:
        query = client.OpteeQuery()
        reading = client.ask(library, query)
        if heap := query.heap():
            tell("heap", f"{heap[0]} {heap[1]}")
        return reading
    _check_identity(request["identity"], request["user"])
    ta_path = os.fsencode(request["ta_path"])
    return client.ask(library, client.ItrusteeQuery(request["uuid"], ta_path))


def _check_identity(identity: str, user: str) -> None:
    """Look at ourselves as iTrustee's daemon does: a refusal would come without a reason."""
    with open("/proc/self/cmdline", "rb") as file:  # noqa: PTH123 - pathlib takes 8 ms to import
        argv0 = os.fsdecode(file.read().split(b"\0", 1)[0])
    if argv0 != identity:
        raise client.LibraryError("identity", f"argv[0] is {argv0}, not {identity}")
    uid = os.geteuid()
    found = passwd_name(uid)
    if found is None:
        raise client.LibraryError("nobody", f"/etc/passwd has no entry for uid {uid}")
    if found != user:
        raise client.LibraryError("user", f"uid {uid} is {found} in /etc/passwd, not {user}")


def passwd_name(uid: int) -> str | None:
    """Read the name as iTrustee's daemon does: from the file, whatever NSS would say."""
    try:
        with open("/etc/passwd", "rb") as file:  # noqa: PTH123 - likewise
            rows = [line.split(b":") for line in file]
    except OSError:
        return None
    for row in rows:
        match row:
            # Without a gid it is no row to libc either.
            case [name, _, number, _, *_] if number == b"%d" % uid:
                return os.fsdecode(name)
    return None
