"""Where telemetry listens, with IPv6 and without, and the address that is logged."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from teeplugin.commands.doctor.page import _is_ours
from teeplugin.commands.status_client import resolve
from teeplugin.telemetry import server

pytestmark = pytest.mark.anyio

V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0))
NOWHERE = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0))


@contextmanager
def open_at(listeners: list[socket.socket]) -> Iterator[set[str]]:
    """The addresses that are logged for these."""
    try:
        yield {server._askable(listener) for listener in listeners}
    finally:
        for listener in listeners:
            listener.close()


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), 5):
        return True


@pytest.mark.parametrize("host", ["", "[::]"])
@pytest.mark.parametrize("has_ipv6", [True, False])
async def test_all_addresses_are_of_both_families_and_can_be_asked_without_ipv6(
    monkeypatch: pytest.MonkeyPatch, host: str, has_ipv6: bool
) -> None:
    if not has_ipv6:
        monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with open_at(await server._listen(f"{host}:0")) as addresses:
        (address,) = addresses
        assert address.startswith("127.0.0.1:")
        assert answers(address)
        if has_ipv6 and socket.has_dualstack_ipv6():
            assert answers(address.replace("127.0.0.1", "[::1]"))


@pytest.mark.parametrize("found", [[V6, V4], [NOWHERE, V4]])
async def test_a_name_with_an_address_that_this_machine_lacks_is_served_at_the_others(
    monkeypatch: pytest.MonkeyPatch, found: list[object]
) -> None:
    async def looked_up(*_: object, **__: object) -> list[object]:
        return found

    monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
    with open_at(await server._listen("localhost:0")) as addresses:
        assert any(address.startswith("127.0.0.1:") for address in addresses)
        assert all(map(answers, addresses))


async def test_a_name_with_no_address_of_this_machine_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def looked_up(*_: object, **__: object) -> list[object]:
        return [NOWHERE]

    monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
    with pytest.raises(OSError, match="assign requested address"):
        await server._listen("elsewhere:0")


async def test_a_taken_address_is_an_error_where_another_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:

        async def looked_up(*_: object, **__: object) -> list[object]:
            return [V4, (*V4[:4], taken.getsockname())]

        monkeypatch.setattr(anyio, "getaddrinfo", looked_up)
        with pytest.raises(OSError, match="in use"):
            await server._listen("localhost:0")


async def test_status_asks_the_loopback_where_all_addresses_are_served() -> None:
    for listen in (":9840", "[::]:9840"):
        assert {where[0] for *_, where in await resolve(listen)} <= {"127.0.0.1", "::1"}


def test_doctor_takes_a_name_for_ours_if_one_of_its_addresses_is() -> None:
    assert _is_ours([NOWHERE, V4])
    assert not _is_ours([NOWHERE])
