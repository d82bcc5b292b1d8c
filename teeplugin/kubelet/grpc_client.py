"""Channels to others' gRPC servers on unix sockets; for registration, ledger, probes and doctor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grpclib.client import Channel
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import ProtocolError, StreamTerminatedError

NO_ANSWER = (OSError, StreamTerminatedError, ProtocolError)
"""What a call raises that isn't answered, a TimeoutError among them; a refusal is a GRPCError."""


@contextmanager
def channel_to(path: Path, codec: CodecBase | None = None) -> Iterator[Channel]:
    """Give a channel, which dials at its first call, and close it at the end.

    Raises:
        ConnectionResetError: the connection was closed as soon as it was made.
    """
    channel = Channel(path=os.fspath(path), codec=codec)
    try:
        yield channel
    except AttributeError as error:
        # What grpclib 0.4 raises then.
        raise ConnectionResetError("it closed the connection at once") from error
    finally:
        channel.close()
