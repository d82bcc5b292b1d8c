"""ListAndWatch bytes → ids and health, strictly and fast: called for each list a plugin sends.

Message objects for 220,000 devices take seconds; here a row of the usual shape is three slices.
What the kubelet's protobuf would reject (cut off, bad varint, bad UTF-8) is rejected here too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from grpclib.encoding.proto import ProtoCodec

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_ROW_TAG = _ID_TAG = 1 << 3 | _BYTES
_DEVICE_FIELD, _ID_FIELD, _HEALTH_FIELD = 1, 1, 2
_HEALTHY = "Healthy"
_HEALTHY_BYTES = b"\x12\x07Healthy"
_ONE_BYTE = 0x80
_LONGEST_VARINT = 10


class MalformedMessageError(ValueError):
    """The bytes are no message that the kubelet would take."""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """One list of a plugin: its ids, which of them are exactly `Healthy`, and its size."""

    ids: frozenset[str]
    healthy: frozenset[str]
    message_bytes: int


@dataclass(frozen=True, slots=True)
class RawDeviceList:
    """A list not parsed yet, so that a long one can be parsed off the event loop."""

    data: bytes

    @classmethod
    def FromString(cls, data: bytes) -> Self:  # noqa: N802 - the name grpclib's codec calls
        """Keep the bytes as they are."""
        return cls(data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name grpclib's codec calls
        """Give the bytes back."""
        return self.data


class LimitedCodec(ProtoCodec):
    """grpclib's codec with the kubelet's limit on what it receives."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Decode, unless the message is longer than the kubelet takes."""
        if len(data) > self._limit_bytes:
            raise MalformedMessageError(
                "rpc error: code = ResourceExhausted desc = grpc: received message larger than max"
                f" ({len(data)} vs. {self._limit_bytes})"
            )
        try:
            return super().decode(data, message_type)
        except Exception as error:  # betterproto2 raises many kinds on bad bytes
            raise MalformedMessageError(
                "rpc error: code = Internal desc = grpc: failed to unmarshal the received message: "
                f"{error}"
            ) from error


def parse_device_list(data: bytes) -> DeviceList:
    """Parse a serialized ListAndWatchResponse.

    Raises:
        MalformedMessageError: the bytes are cut off, or no protobuf, or an id is no UTF-8.
    """
    ids: list[str] = []
    healthy: list[str] = []
    position, end = 0, len(data)
    try:
        while position < end:
            tag = data[position]
            size = data[position + 1] if position + 1 < end else _ONE_BYTE
            if tag == _ROW_TAG and size < _ONE_BYTE:
                start, position = position + 2, position + 2 + size
                if position > end:
                    raise MalformedMessageError(f"a device is cut off at byte {end}")
                row = data[start:position]
            else:
                number, wire_type, value, position = _field(data, position)
                if number != _DEVICE_FIELD or wire_type != _BYTES:
                    continue
                row = value
            name, is_healthy = _device(row)
            ids.append(name)
            if is_healthy:
                healthy.append(name)
    except UnicodeDecodeError as error:
        raise MalformedMessageError(f"a string is not valid UTF-8: {error}") from error
    return DeviceList(frozenset(ids), frozenset(healthy), end)


def _device(row: bytes) -> tuple[str, bool]:
    if len(row) > 1 and row[0] == _ID_TAG and row[1] < _ONE_BYTE:
        id_end = 2 + row[1]
        rest = row[id_end:]
        if rest == _HEALTHY_BYTES:
            return row[2:id_end].decode(), True
        if id_end == len(row):
            return row[2:id_end].decode(), False
    name = health = ""
    for number, wire_type, value in _fields(row):
        if wire_type == _BYTES and number == _ID_FIELD:
            name = value.decode()
        elif wire_type == _BYTES and number == _HEALTH_FIELD:
            health = value.decode()
    return name, health == _HEALTHY


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    while position < len(data):
        number, wire_type, value, position = _field(data, position)
        yield number, wire_type, value


def _field(data: bytes, position: int) -> tuple[int, int, bytes, int]:
    """The field at `position`: its number, wire type, payload, and where the next one starts."""
    key, start = _varint(data, position)
    number, wire_type = key >> 3, key & 7
    if number == 0:
        raise MalformedMessageError(f"field number 0 at byte {position}")
    if wire_type == _VARINT:
        _, end = _varint(data, start)
    elif wire_type == _BYTES:
        size, start = _varint(data, start)
        end = start + size
    elif wire_type in _FIXED_BYTES:
        end = start + _FIXED_BYTES[wire_type]
    else:
        raise MalformedMessageError(f"wire type {wire_type} at byte {position}")
    if end > len(data):
        raise MalformedMessageError(f"a field is cut off at byte {len(data)}")
    return number, wire_type, data[start:end], end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < _ONE_BYTE:
            return value, position + index + 1
    raise MalformedMessageError(f"a number is cut off or too long at byte {position}")
