"""HTTP/2 and gRPC as bytes, with nothing that keeps a client from sending what is wrong."""

import asyncio
import fcntl
import socket
import termios
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from hpack import Encoder
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from teeplugin.api.deviceplugin import v1beta1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = SettingsFrame(0).serialize()
HELLO = PREFACE + SETTINGS

GONE = (OSError, TimeoutError, EOFError)
"""What a client that is cut may see."""


def header_list(path: str = "Allocate", **others: str) -> list[tuple[str, str]]:
    """A call's headers; `others` replace or add to them."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path if path.startswith("/") else f"/v1beta1.DevicePlugin/{path}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    headers |= {name.replace("_", "-"): value for name, value in others.items()}
    return [item for item in headers.items() if item[1]]


def header_block(path: str = "Allocate", **others: str) -> bytes:
    """Them in a block that needs no table."""
    return bytes(Encoder().encode(header_list(path, **others)))


def headers(stream: int, block: bytes, *flags: str) -> bytes:
    return HeadersFrame(stream, block, flags=[*(flags or ("END_HEADERS",))]).serialize()


def data(stream: int, content: bytes, *flags: str) -> bytes:
    return DataFrame(stream, content, flags=flags).serialize()


def message(content: bytes) -> bytes:
    """With gRPC's five bytes before it."""
    return b"\0" + len(content).to_bytes(4, "big") + content


def call(stream: int, path: str = "Allocate", content: bytes = b"") -> bytes:
    """A whole call, as a kubelet makes it."""
    framed = message(content)
    pieces = [framed[at : at + 16_384] for at in range(0, len(framed), 16_384)]
    return headers(stream, header_block(path)) + b"".join(
        data(stream, piece, *(("END_STREAM",) if number == len(pieces) - 1 else ()))
        for number, piece in enumerate(pieces)
    )


def allocate(ids: Sequence[int]) -> bytes:
    request = v1beta1.ContainerAllocateRequest(devices_i_ds=[str(one) for one in ids])
    return bytes(v1beta1.AllocateRequest(container_requests=[request]))


def settings(kinds: Iterable[int]) -> bytes:
    """A SETTINGS frame of these kinds; hyperframe's own writes the lowest byte of each only."""
    return raw_frame(4, 0, 0, b"".join(kind.to_bytes(2, "big") + b"\0\0\0\1" for kind in kinds))


def raw_frame(kind: int, flags: int, stream: int, content: bytes, length: int = -1) -> bytes:
    """Any frame, also one whose length isn't true."""
    size = len(content) if length < 0 else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


class Wire:
    """One connection; what comes back is kept in `received`, as far as it is read."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self.received = bytearray()
        self.ended = False

    async def send(self, content: bytes) -> None:
        await self._loop.sock_sendall(self._socket, content)

    async def read(self) -> bytes:
        """What comes next; nothing once the plugin has closed."""
        try:
            got = await self._loop.sock_recv(self._socket, 65_536)
        except ConnectionError:
            got = b""
        self.ended = not got
        self.received += got
        return got

    @property
    def unread_bytes(self) -> int:
        """How much has come and wasn't read."""
        unread = array("i", [0])
        fcntl.ioctl(self._socket, termios.FIONREAD, unread)
        return unread[0]

    async def until_closed(self) -> None:
        """Read until the plugin closes the connection."""
        while not self.ended:
            await self.read()

    async def send_on_and_on(self, content: bytes) -> None:
        """Send the same again and again until cut, reading what comes."""
        async with self.reading_on() as reading:
            with suppress(*GONE):
                while not reading.done():
                    await self.send(content)
                    await asyncio.sleep(0)
            await reading

    @asynccontextmanager
    async def reading_on(self) -> AsyncIterator[asyncio.Task[None]]:
        """Read beside the block, to whose end the task is over: the socket may then be closed."""
        reading = asyncio.create_task(self.until_closed())
        try:
            yield reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def frames(self) -> Iterator[Frame]:
        """The frames that were read."""
        rest = memoryview(bytes(self.received))
        while len(rest) >= 9:
            with suppress(HyperframeError):
                frame, length = Frame.parse_frame_header(rest[:9])
                frame.parse_body(rest[9 : 9 + length])
                yield frame
            rest = rest[9 + int.from_bytes(rest[:3], "big") :]

    def farewell(self) -> int | None:
        """The error code of the plugin's GOAWAY, if it sent one."""
        codes = [frame.error_code for frame in self.frames() if isinstance(frame, GoAwayFrame)]
        return codes[-1] if codes else None


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Wire]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, str(path))
        yield Wire(one)
