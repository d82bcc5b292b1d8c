"""One client's connection: what h2 and grpclib make of its bytes, within bounds; for server.

A client whose bytes aren't HTTP/2 costs no more than a socket: h2 is set up after the preface.
"""

import select
import time
from asyncio import BaseTransport, Transport
from contextlib import suppress
from functools import lru_cache
from typing import Protocol, cast

from grpclib.protocol import Connection, EventsProcessor, H2Protocol
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, UnknownFrameReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, SettingsFrame

from teeplugin.connections.calls import MOST_CALLS, BoundedCalls
from teeplugin.connections.frames import (
    FRAME_COST,
    MOST_HEADER_BYTES,
    PREFACE,
    FrameGate,
    TooMuchError,
)
from teeplugin.connections.held import Held
from teeplugin.connections.turns import ALLOWANCE, SLICE_COST, Debtor, Turns
from teeplugin.logs.setup import get_logger

FIRST_CALL_SECONDS = 10.0
"""From connecting to the first call: as long as the kubelet takes to dial."""

STALLED_SECONDS = 60.0
"""How long nothing that we send may be taken. A kubelet that works a list off under its lock has
been seen to take 9 s."""

MOST_HEADER_TABLE_BYTES = 4_096
"""HPACK's own first value (RFC 9113, 6.5.2): our encoder looks through its table at each header."""

WINDOW_BYTES = 256 * 1024
"""What a connection may send ahead of what is read; a stream HTTP/2's own 65,535."""

_MOST_CLOSED_STREAMS = 1_024
"""What h2 remembers of streams that ended, for frames that were on their way; not 65,536."""

_log = get_logger()


class Book(Protocol):
    """What a connection has of its server."""

    held: Held
    turns: Turns

    def add(self, connection: "BoundedProtocol") -> None:
        """Count a connection as open."""

    def remove(self, connection: "BoundedProtocol") -> None:
        """Count it no more."""

    def tell(self, reason: str) -> None:
        """Take note of a client that was cut, for the log."""


class _Http2(H2Connection):
    """h2 with our bounds.

    Of a peer's settings it keeps what its windows need. Another size of frames would have a whole
    list be written at once, and whatever is no setting at all would be remembered.
    """

    DEFAULT_MAX_HEADER_LIST_SIZE = MOST_HEADER_BYTES
    MAX_CLOSED_STREAMS = _MOST_CLOSED_STREAMS

    def _receive_settings_frame(self, frame: SettingsFrame) -> tuple[list[Frame], list[Event]]:
        told = frame.settings
        for setting, value in told.items():
            self.remote_settings.validate_received_setting(setting, value)
        frame.settings = {}
        if (window := told.get(SettingCodes.INITIAL_WINDOW_SIZE)) is not None:
            frame.settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
        if (table := told.get(SettingCodes.HEADER_TABLE_SIZE)) is not None:
            frame.settings[SettingCodes.HEADER_TABLE_SIZE] = min(table, MOST_HEADER_TABLE_BYTES)
        return super()._receive_settings_frame(frame)


class BoundedProtocol(H2Protocol):
    """One connection, which stands in `book` as long as it is open."""

    def __init__(self, made: H2Protocol, book: Book, peer_pid: int) -> None:
        self._gate = FrameGate()
        self.debtor = Debtor()
        # By itself: a list that changes is not the peer's doing, whose calls don't wait for it.
        self._sends = Debtor(beside=self.debtor)
        self.calls = BoundedCalls(
            made.handler,
            self._gate,
            book.held,
            may_use=self._may_use,
            may_send=self._may_send,
            give_way=self._give_way,
        )
        super().__init__(self.calls, made.config, made.h2_config)
        self._book = book
        self.peer_pid = peer_pid
        self.opened = time.monotonic()
        self._h2: H2Connection | None = None
        self._preface = PREFACE
        self._inbox = bytearray()
        # The inbox has whole frames, and the peer isn't read from until they are handled.
        self._waits = False
        self._queued = False
        self._paused_writing = False
        # While the peer isn't read from, asyncio doesn't notice that it left.
        self._hang_up = select.poll()
        self._ended = False
        self._progress: tuple[int, int] | None = None
        self._progress_at = self.opened

    # What asyncio calls

    def connection_made(self, transport: BaseTransport) -> None:
        """Count the connection, and say what HTTP/2 has a server say first."""
        self.transport = cast("Transport", transport)
        self._book.add(self)
        self._hang_up.register(self.transport.get_extra_info("socket"), 0)
        self.transport.write(_greeting(self.h2_config))

    def data_received(self, data: bytes) -> None:
        """Handle what the peer sent, now or when it has its turn."""
        if self._preface:
            data = self._after_preface(data)
            if not data:
                return
        if self._inbox:
            self._inbox += data
        turns = self._book.turns
        light = self.debtor.debt < ALLOWANCE
        if self._waits:
            return
        if self._paused_writing or not (light or turns.idle):
            self._wait(data)
            return
        more = self._handle_slice(self._inbox or data)
        if not light:
            turns.served(self)
        if more:
            self._wait(b"")

    def pause_writing(self) -> None:
        """Take nothing from a peer that doesn't take what we send."""
        self._paused_writing = True
        if self._h2 is not None:
            super().pause_writing()

    def resume_writing(self) -> None:
        """Go on with it."""
        self._paused_writing = False
        if self._h2 is not None:
            super().resume_writing()
        if self._waits and not self._queued:
            self._queue()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        self._ended = True
        self._book.remove(self)
        # grpclib forgets only handlers that were closed.
        self.calls.close()
        if self._h2 is not None:
            super().connection_lost(exc)

    # What the server calls

    def take_turn(self) -> bool:
        """Handle a slice of what waits; whether there is more."""
        if self._ended or self._paused_writing:
            self._queued = False
            return False
        if self._hang_up.poll(0):
            # Nobody is there any more for whom what waits could be done.
            self.transport.abort()
            self._queued = False
            return False
        if self._handle_slice(self._inbox):
            return True
        self._queued = self._waits = False
        if not self._ended:
            self.transport.resume_reading()
        return False

    def look(self, now: float) -> None:
        """End what takes too long; called every few seconds."""
        if not self.calls.began and now - self.opened > FIRST_CALL_SECONDS:
            self.end(ErrorCodes.NO_ERROR, "no-call")
            return
        self.calls.end_overdue(now)
        sending = self.calls.sending or self._paused_writing
        progress = None
        if sending:
            sent = 0 if self._h2 is None else self.connection.data_sent
            progress = (sent, self.transport.get_write_buffer_size())
        if progress is None or progress != self._progress:
            self._progress, self._progress_at = progress, now
        elif now - self._progress_at > STALLED_SECONDS:
            self.end(ErrorCodes.ENHANCE_YOUR_CALM, "not-reading")

    def end(self, code: ErrorCodes | None, reason: str) -> None:
        """Say why, where the peer reads, and close; None where h2 has said it."""
        if self._ended:
            return
        self._ended = True
        if self._h2 is not None:
            with suppress(ProtocolError):
                if code is not None:
                    self._h2.close_connection(code)
            self._flush()
            self.processor.close(reason)
        self._leave()
        self._book.tell(reason)

    def _leave(self) -> None:
        self._ended = True
        self.transport.close()
        if self.transport.get_write_buffer_size():
            # Else it would stay until the peer reads.
            self.transport.abort()
        self._book.remove(self)

    async def _may_use(self, cost: int) -> None:
        await self._book.turns.wait(self.debtor, cost)

    async def _may_send(self, cost: int) -> None:
        await self._book.turns.wait(self._sends, cost)

    def _give_way(self) -> None:
        self.end(ErrorCodes.ENHANCE_YOUR_CALM, "holds-memory")

    # The bytes' way

    def _after_preface(self, data: bytes) -> bytes:
        length = min(len(data), len(self._preface))
        if data[:length] != self._preface[:length]:
            self.end(None, "not-http2")
            return b""
        self._preface = self._preface[length:]
        if not self._preface:
            self._open()
        return data[length:]

    def _open(self) -> None:
        self._h2 = _http2(self.h2_config)
        self._h2.clear_outbound_data_buffer()  # the greeting was sent
        self._h2.receive_data(PREFACE)
        self.connection = Connection(self._h2, self.transport, config=self.config)
        self.connection.initialize()
        self.processor = EventsProcessor(self.calls, self.connection)
        if self._paused_writing:
            self.connection.pause_writing()

    def _wait(self, data: bytes) -> None:
        if not self._inbox:
            self._inbox += data
        self._waits = True
        self.transport.pause_reading()
        if not self._paused_writing:
            self._queue()

    def _queue(self) -> None:
        self._queued = True
        self._book.turns.ask(self)

    def _handle_slice(self, data: bytes | bytearray) -> bool:
        """Handle some frames of `data`, put the rest into the inbox; whether it has more."""
        try:
            end, cost, more = self._gate.next_frames(data, SLICE_COST)
        except TooMuchError as error:
            self.end(error.code, error.reason)
            return False
        self.debtor.use(cost or FRAME_COST)
        if end:
            self._feed(data if end == len(data) else data[:end])
        if self._ended:
            self._inbox = bytearray()
            return False
        if data is self._inbox:
            del self._inbox[:end]
        elif end < len(data):
            self._inbox += data[end:]
        return more

    def _feed(self, frames: bytes | bytearray) -> None:
        try:
            events = self.connection.feed(bytes(frames))
            self._flush()
            for event in events:
                # grpclib knows none of these, which HTTP/2 says are to be ignored.
                if event.__class__ is not UnknownFrameReceived:
                    self.processor.process(event)
            self._flush()
        except Exception as error:  # noqa: BLE001 - h2 and grpclib take much for granted
            _log.debug("frames_not_handled", exc_info=True)
            told = isinstance(error, ProtocolError)
            self.end(None if told else ErrorCodes.PROTOCOL_ERROR, "protocol-error")
        if self.transport.is_closing() and not self._ended:
            # The peer has said GOAWAY, on which grpclib closes; nothing more can be said.
            self._leave()

    def _flush(self) -> None:
        if self.transport.is_closing():
            return
        self.connection.flush()


def _http2(config: H2Configuration) -> H2Connection:
    h2 = _Http2(config=config)
    h2.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: MOST_CALLS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MOST_HEADER_BYTES,
        },
    )
    h2.initiate_connection()
    h2.increment_flow_control_window(WINDOW_BYTES - h2.local_settings.initial_window_size)
    return h2


@lru_cache(maxsize=1)
def _greeting(config: H2Configuration) -> bytes:
    """Give what h2 has us say first, to all alike: it is set up for those only who answer."""
    return _http2(config).data_to_send()
