"""Makes one unary gRPC call to a server on a unix socket, and translates all that may go wrong.

Calls take and give bytes. Whatever the other side answers, a caller meets `CallError` only.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import Connection

from teeplugin.kubelet.permission import REFUSED, who_refuses


class CallError(Exception):
    """The call came to no answer; the text says why in plain words."""


class NoAnswer(CallError):
    """There was no answer, or one that breaks gRPC's rules; `errno` where the system refused."""

    def __init__(self, text: str, errno: int | None = None) -> None:
        super().__init__(text)
        self.errno = errno


class CallTimedOut(CallError):
    """The deadline passed without an answer."""


class CallRefused(CallError):
    """The server answered with another status than OK."""

    def __init__(self, status: Status, text: str | None) -> None:
        super().__init__(text or status.name)
        self.status = status


async def call(path: Path, method: str, request: bytes, seconds: float) -> bytes:
    """Connect to `path`, call `method` ("/package.Service/Method"), and give the answer's bytes.

    Raises:
        CallError: whatever came instead of an answer.
    """
    with anyio.move_on_after(seconds):
        with _translated(path):
            answer = await _answer(path, method, request)
        if answer is None:
            raise NoAnswer("it answered OK without a message")
        return answer
    raise CallTimedOut(f"no answer within {seconds:g} s")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what grpclib raises into our errors.

    It ends a wait by cancelling the task and leaves that counted, so that a later look at
    `cancelling` would take the task for one that is to end: counted as before again.
    """
    task = asyncio.current_task()
    cancelling = task.cancelling() if task else 0
    try:
        yield
    except Exception as error:
        while task and task.cancelling() > cancelling:
            task.uncancel()
        raise _as_call_error(error, path) from error


async def _answer(path: Path, method: str, request: bytes) -> bytes | None:
    async with Channel(path=os.fspath(path), codec=_Bytes()) as channel:
        unary = UnaryUnaryMethod[bytes, bytes](channel, method, bytes, bytes)
        async with unary.open() as stream:
            await stream.send_message(request, end=True)
            return await stream.recv_message()


class _Bytes(CodecBase):
    """Leaves messages as bytes: an answer may name thousands of ids, which takes long to parse."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        del message_type
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        del message_type
        return data


def _as_call_error(error: Exception, path: Path) -> CallError:
    if isinstance(error, GRPCError):
        return CallRefused(error.status, error.message)
    if isinstance(error, OSError):
        words = error.strerror or str(error)
        if error.errno in REFUSED:
            words = f"{words}: {who_refuses(path)}"
        return NoAnswer(words, error.errno)
    return NoAnswer(_in_words(error))


def _in_words(error: Exception) -> str:
    """Say what happened, by what grpclib 0.4 raises then: it has no error of its own for some."""
    match error:
        case AttributeError(obj=Connection()):
            # A connection that was closed has lost its attributes.
            return "it closed the connection at once"
        case StreamTerminatedError():
            return f"it ended the call: {error}"
        case NotImplementedError():
            return "it answered with a compressed message, which the plugin did not request"
        case AssertionError():
            return "its answer was truncated"
        case _:
            return f"its answer breaks gRPC's rules: {type(error).__name__}: {error}"
