"""Looks at HTTP/2 frames before h2 parses them: what they cost, which are too many; for protocol.

h2 takes frames of any number and kind, and each costs it tens of microseconds, whatever its size.
"""

import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from h2.errors import ErrorCodes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What an HTTP/2 client says first (RFC 9113, 3.4)."""

MOST_FRAME_BYTES = 16_384
"""SETTINGS_MAX_FRAME_SIZE's first value, which we don't raise (RFC 9113, 6.5.2)."""

MOST_HEADER_BYTES = 16_384
"""A call's headers: what gRPC's C core takes at most; the kubelet's are a few hundred bytes."""

MOST_SETTINGS_BYTES = 32 * 6
"""Of one SETTINGS frame; nine settings are registered."""

PATIENCE = 1_000
"""Tiresome frames at a time. A list of 4 MiB brings about 550 from the kubelet's gRPC library: two
WINDOW_UPDATEs for each quarter of a window of 64 KiB, and a PING for each round trip."""

PATIENCE_PER_SECOND = 100
"""How it comes back by itself: more than anybody needs who doesn't call nor read."""

PATIENCE_PER_CALL = 4
"""For a call that ended by itself: it may bring a WINDOW_UPDATE or two, and a PING."""

FEW_BYTES = 256
"""DATA that goes on after so few is tiresome: a message comes in frames as large as they may be."""

_FRAME = struct.Struct(">HBBBI")
"""Length in two parts, type, flags, stream."""

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _CONTINUATION = 0, 1, 3, 4, 9
_END_STREAM, _END_HEADERS = 0x1, 0x4

FRAME_COST = 20
"""Microseconds, measured: what a frame takes h2 and grpclib, roughly."""

HEADERS_COST = 500
"""Likewise, with the call that it begins."""

_TIRESOME = {_DATA: 0, _HEADERS: 0, _RST_STREAM: 20, _SETTINGS: 20}
"""What takes more than one, or none, of `PATIENCE`: a reset makes a call that was for nothing."""


class TooMuchError(Exception):
    """The peer has to go; with HTTP/2's error code for it, and the reason for our log."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Slice(NamedTuple):
    """How many bytes, what they cost in microseconds, and whether a whole frame follows."""

    end: int
    cost: int
    more: bool


class FrameGate:
    """Looks at one connection's frames as they come, and keeps how tiresome they were."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._patience: float = PATIENCE
        self._refilled = clock()
        self._header_bytes = 0

    def earn(self, patience: int) -> None:
        """Take note of something useful that the peer had done."""
        self._patience = min(PATIENCE, self._patience + patience)

    def next_frames(self, data: bytes | bytearray, most_cost: int) -> Slice:
        """Give what of `data`, which begins with a frame, is to be handled at once.

        That is as many whole frames as cost `most_cost` microseconds at most, but one at least, if
        it is whole.

        Raises:
            TooMuchError: a frame is too large, or the frames are too many.
        """
        end = cost = 0
        size = len(data)
        while size - end >= _FRAME.size:
            high, low, kind, flags, _ = _FRAME.unpack_from(data, end)
            length = high << 8 | low
            if length > MOST_FRAME_BYTES:
                raise TooMuchError(ErrorCodes.FRAME_SIZE_ERROR, "frame-too-large")
            following = end + _FRAME.size + length
            if following > size:
                break
            # Decoding Huffman's code takes a microsecond for every few bytes.
            calls = kind == _HEADERS
            one = HEADERS_COST + (length >> 2) if calls else FRAME_COST + (length >> 6)
            if cost and cost + one > most_cost:
                return Slice(end, cost, more=True)
            self._look_at(kind, flags, length)
            cost += one
            end = following
        return Slice(end, cost, more=False)

    def _look_at(self, kind: int, flags: int, length: int) -> None:
        if kind in (_HEADERS, _CONTINUATION):
            self._header_bytes += length
            if self._header_bytes > MOST_HEADER_BYTES:
                raise TooMuchError(ErrorCodes.ENHANCE_YOUR_CALM, "headers-too-large")
            if flags & _END_HEADERS:
                self._header_bytes = 0
        elif kind == _SETTINGS and length > MOST_SETTINGS_BYTES:
            raise TooMuchError(ErrorCodes.ENHANCE_YOUR_CALM, "flood")
        tiresome = _TIRESOME.get(kind, 1)
        if kind == _DATA and length < FEW_BYTES and not flags & _END_STREAM:
            tiresome = 1
        if tiresome:
            self._patience -= tiresome
            if self._patience < 0:
                self._lose_patience()

    def _lose_patience(self) -> None:
        now = self._clock()
        self.earn(int((now - self._refilled) * PATIENCE_PER_SECOND))
        self._refilled = now
        if self._patience < 0:
            raise TooMuchError(ErrorCodes.ENHANCE_YOUR_CALM, "flood")
