"""What of a TEE's answer is confirmed: most mistakes come back as SUCCESS with wrong numbers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin_backends.libteec import abi
from teeplugin_backends.libteec.client import (
    ItrusteeQuery,
    OpteeQuery,
    ReplyError,
    accept_reply,
    accept_statistics,
)

MIB = 1024**2


@given(st.data(), st.integers(1, 2**32 - 1))
def test_an_answer_that_can_be_true_is_multiplied_by_its_unit(
    data: st.DataObject, unit_bytes: int
) -> None:
    total = data.draw(st.integers(1, (2**64 - 1) // unit_bytes))
    free = data.draw(st.integers(0, total))
    accepted = accept_reply(returned_bytes=16, total=total, free=free, unit_bytes=unit_bytes)
    assert accepted == (total * unit_bytes, free * unit_bytes)


def test_no_free_memory_is_a_legitimate_answer() -> None:
    assert accept_reply(returned_bytes=16, total=9, free=0, unit_bytes=1) == (9, 0)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"returned_bytes": 8}, "8 bytes came back, not 16"),
        ({"returned_bytes": 116}, "116 bytes came back"),
        ({"returned_bytes": 0}, "0 bytes came back"),
        ({"unit_bytes": 0}, "the unit is 0"),
        ({"total": 0, "free": 0}, "the total is 0"),
        ({"free": 101}, "101 of 100 units are free"),
        ({"total": 2**63, "unit_bytes": 2}, "more than any machine has"),
    ],
)
def test_an_answer_that_cant_be_true_is_rejected(wrong: dict[str, int], reason: str) -> None:
    answer = {"returned_bytes": 16, "total": 100, "free": 50, "unit_bytes": 4096}
    with pytest.raises(ReplyError, match=reason):
        accept_reply(**{**answer, **wrong})


def record(
    layout: type[abi.OpteeStatistics56 | abi.OpteeStatistics64],
    *,
    allocated: int,
    most: int,
    size: int,
) -> bytes:
    return bytes(layout(desc=b"pool", allocated=allocated, max_allocated=most, size=size)).ljust(
        64, b"\0"
    )


@pytest.mark.parametrize("layout", [abi.OpteeStatistics56, abi.OpteeStatistics64])
def test_the_statistics_are_read_by_the_length_that_came_back(
    layout: type[abi.OpteeStatistics56 | abi.OpteeStatistics64],
) -> None:
    returned_bytes = {abi.OpteeStatistics56: 56, abi.OpteeStatistics64: 64}[layout]
    answer = record(layout, allocated=1 * MIB, most=3 * MIB, size=15 * MIB)
    assert accept_statistics(answer, returned_bytes) == (15 * MIB, 14 * MIB)
    # As the other one of the two, the same bytes would be something else.
    other = {56: 64, 64: 56}[returned_bytes]
    with contextlib.suppress(ReplyError):
        assert accept_statistics(answer, other) != (15 * MIB, 14 * MIB)


def test_a_full_pool_is_a_legitimate_answer() -> None:
    answer = record(abi.OpteeStatistics64, allocated=MIB, most=MIB, size=MIB)
    assert accept_statistics(answer, 64) == (MIB, 0)


@pytest.mark.parametrize(
    ("allocated", "most", "size", "returned_bytes", "reason"),
    [
        (1, 1, 0, 64, "0 bytes, or a multiple of 4 GiB"),
        (2, 2, 1, 64, "modulo 4 GiB"),
        (1, 3, 2, 64, "modulo 4 GiB"),
        (1, 1, 2, 0, "a record of 0 bytes"),
        (1, 1, 2, 60, "a record of 60 bytes"),
        (1, 1, 2, 72, "a record of 72 bytes"),
    ],
)
def test_statistics_that_cant_be_true_are_rejected(
    allocated: int, most: int, size: int, returned_bytes: int, reason: str
) -> None:
    answer = record(abi.OpteeStatistics64, allocated=allocated, most=most, size=size)
    with pytest.raises(ReplyError, match=reason):
        accept_statistics(answer, returned_bytes)


def test_a_uuid_is_laid_out_as_the_vendors_do() -> None:
    uuid = abi.UUID.parse("e3d37f4a-f24c-48d0-8884-3bdd6c44e988")
    assert (uuid.timeLow, uuid.timeMid, uuid.timeHiAndVersion) == (0xE3D37F4A, 0xF24C, 0x48D0)
    assert bytes(uuid.clockSeqAndNode).hex() == "88843bdd6c44e988"


def test_the_itrustee_query_is_filled_the_vendors_way() -> None:
    query = ItrusteeQuery("e3d37f4a-f24c-48d0-8884-3bdd6c44e988", b"/data/x.sec")
    assert (query.opening.started, query.opening.paramTypes) == (1, 0)
    assert (query.operation.started, query.operation.paramTypes) == (1, 0x2006)
    assert query.operation.params[0].tmpref.size == 16
    # The library resets it when it makes the context.
    assert query.context.ta_path is None
    query.prepare_context()
    assert query.context.ta_path == b"/data/x.sec"


def test_the_optee_query_asks_for_the_pool_of_ta_memory_without_a_reset() -> None:
    query = OpteeQuery()
    assert query.operation.paramTypes == 0x61
    assert (query.operation.params[0].value.a, query.operation.params[0].value.b) == (3, 0)
    assert query.operation.params[1].tmpref.size == 64
