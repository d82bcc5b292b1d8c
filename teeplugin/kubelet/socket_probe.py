"""Tells whether somebody listens at a unix socket, by a connection that is closed at once.

And whether a plugin that listens answers, by a call that changes nothing.
"""

import os
import socket
import stat
import sys
from enum import Enum, auto
from pathlib import Path

from teeplugin.kubelet.grpc_client import CallError, CallTimedOut, call

ANSWER_SECONDS = 2.0
"""How long a plugin may take to answer, which it does in a millisecond."""

OPTIONS_METHOD = "/v1beta1.DevicePlugin/GetDevicePluginOptions"
GET_INFO_METHOD = "/pluginregistration.Registration/GetInfo"
"""Of the driver, in DRA mode."""


class SocketState(Enum):
    """What stands at a path or behind a link there; FULL is one whose owner accepts nobody."""

    MISSING = auto()
    NO_SOCKET = auto()
    REFUSES = auto()
    FULL = auto()
    FORBIDDEN = auto()
    LISTENS = auto()


def state_of(path: Path) -> SocketState:
    """Connect without waiting and without a word."""
    return connected(path)[0]


def connected(path: Path) -> tuple[SocketState, int | None]:
    """Like `state_of`, with the listener's process, where it is seen from here."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return SocketState.NO_SOCKET, None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(os.fspath(path))
            return SocketState.LISTENS, _peer(probe)
    except (FileNotFoundError, NotADirectoryError):
        return SocketState.MISSING, None
    except ConnectionRefusedError:
        return SocketState.REFUSES, None
    except BlockingIOError:
        return SocketState.FULL, None
    except OSError:
        return SocketState.FORBIDDEN, None


def _peer(probe: socket.socket) -> int | None:
    """The process that listens; in another pid namespace than ours it is 0."""
    credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder) or None


async def silence_of(path: Path, seconds: float, method: str = OPTIONS_METHOD) -> str | None:
    """Say why the plugin that listens there doesn't answer a call; None if it does."""
    try:
        await call(path, method, b"", seconds)
    except CallTimedOut:
        return f"did not answer within {seconds:g} s"
    except CallError as error:
        return f"does not answer: {error}"
    return None
