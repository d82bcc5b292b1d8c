"""systemd's side of sd_notify: a socket that collects what a service sends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


class NotifySocket:
    """What was sent so far is `sent`, at each look."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self._sent: list[str] = []

    @property
    def sent(self) -> list[str]:
        try:
            while True:
                self._sent.append(self._receiver.recv(100).decode())
        except BlockingIOError:
            return self._sent


@contextmanager
def notify_socket(address: str) -> Iterator[NotifySocket]:
    """Listen at a path, or at a name whose first byte is zero."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.setblocking(False)
        yield NotifySocket(receiver)
