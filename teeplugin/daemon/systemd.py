"""Tells systemd that the plugin has started and that its event loop runs: sd_notify(3).

systemd gives the socket in NOTIFY_SOCKET and the time in WATCHDOG_USEC. Without a socket nothing
is sent.
"""

import os
import socket
from collections.abc import Awaitable, Callable

import anyio

from teeplugin.logs.setup import get_logger

READY_SECONDS = 10.0
"""The longest wait for the first device list: the kubelet's start waits for ours."""

RETRY_SECONDS = 1.0
"""How often READY=1 is tried while systemd's socket takes nothing."""

_log = get_logger()


async def notify_systemd(listed: Callable[[], Awaitable[object]]) -> None:
    """Send READY=1 after `listed`, or after `READY_SECONDS`; then keep-alives until cancelled.

    READY=1 doesn't wait for the kubelet, whose unit starts after ours.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    # A name that begins with @ is in the abstract namespace: its first byte is zero.
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with anyio.move_on_after(READY_SECONDS):
        await listed()
    while not _send(address, "READY=1"):  # noqa: ASYNC110 - systemd sets no event
        await anyio.sleep(RETRY_SECONDS)
    pause_seconds = _watchdog_seconds() / 2  # as systemd advises
    while pause_seconds:
        _send(address, "WATCHDOG=1")
        await anyio.sleep(pause_seconds)


def _watchdog_seconds() -> float:
    """Give systemd's time between keep-alives; 0 if it expects none of this process."""
    if os.environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return 0.0
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000


def _send(address: str, state: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError as error:
        _log.warning(
            "systemd_not_notified",
            state=state,
            error=error.strerror,
            effect="systemd may consider the plugin hung and restart it",
            fix="check whether systemd is overloaded: journalctl -b -u init.scope",
        )
        return False
    return True
