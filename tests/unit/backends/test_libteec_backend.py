"""The libteec backend around its helper: what it learns, what it hands out, who it is."""

from collections.abc import Mapping
from hashlib import sha256

import anyio
import pytest

from teeplugin_backends.base import (
    BadReply,
    Device,
    Mount,
    TeeMemory,
    TimedOut,
    Unreachable,
)
from teeplugin_backends.libteec import LibTeec, backend, teecd
from teeplugin_backends.libteec.process import CantEndError, Ended

pytestmark = pytest.mark.anyio

FACTS_SHA256 = "e33878210c5ea4504811ae2d6d796fd8f432d8fcf0b34866f01352e184e3ec50"


class Scripted:
    """Helpers that end as the test says, and the requests they got."""

    def __init__(self, tee: LibTeec, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[Mapping[str, str]] = []
        self.ends: Ended | Exception | None = None
        monkeypatch.setattr(tee._helpers, "run", self.run)

    async def run(self, request: Mapping[str, str]) -> Ended:
        self.requests.append(request)
        if self.ends is None:
            await anyio.sleep_forever()
        if isinstance(self.ends, Exception):
            raise self.ends
        assert self.ends is not None
        return self.ends


def good(vendor: str) -> Ended:
    return Ended(0, {"vendor": vendor, "total": "1000", "free": "10"})


async def answered(vendor: str, monkeypatch: pytest.MonkeyPatch, **options: str) -> LibTeec:
    tee = LibTeec.from_options(options)
    Scripted(tee, monkeypatch).ends = good(vendor)
    assert await tee.memory() == TeeMemory(1000, 10)
    return tee


async def test_the_request_is_what_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teecd, "problem_of_socket", lambda _path: "")
    tee = LibTeec.from_options({"flavour": "itrustee", "user": "tee", "identity": "/bin/x"})
    script = Scripted(tee, monkeypatch)
    script.ends = good("itrustee")
    await tee.memory()
    uuid = "e3d37f4a-f24c-48d0-8884-3bdd6c44e988"
    assert script.requests == [
        {
            "libraries": "libteec.so",
            "vendor": "itrustee",
            "uuid": uuid,
            "ta_path": f"/data/{uuid}.sec",
            "identity": "/bin/x",
            "user": "tee",
            "log_node": "/dev/teelog",
            "memstat": "/sys/kernel/debug/tzdebug/memstat",
        }
    ]


async def test_the_flavour_is_learned_from_the_first_good_answer_and_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tee = LibTeec.from_options({})
    script = Scripted(tee, monkeypatch)
    script.ends = Ended(0, {"vendor": "itrustee", "problem": "user", "words": "no"})
    with pytest.raises(Exception, match="no"):
        await tee.memory()
    for _ in range(2):
        script.ends = good("optee")
        await tee.memory()
    assert [request["vendor"] for request in script.requests] == ["", "", "optee"]
    assert script.requests[2]["libraries"].split("\n")[0] == "libteec.so.2"


async def test_itrustees_containers_get_its_daemons_directory_and_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tee = await answered("itrustee", monkeypatch)
    access = tee.access()
    assert access.mounts == (Mount("/var/itrustee/teecd", "/var/itrustee/teecd", read_only=True),)
    assert access.devices == (
        Device("/dev/teelog", "/dev/teelog", "rw"),
        Device("/dev/tc_ns_cvm", "/dev/tc_ns_cvm", "rw"),
    )
    assert tee.default_reserve_bytes == 600 * 1024**2
    assert "start teecd" in access.missing_fix
    assert "OP-TEE" not in access.missing_fix


async def test_the_node_of_the_limits_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = await answered("itrustee", monkeypatch, **{"confidential-node": "false"})
    assert tee.access().host_paths() == ("/var/itrustee/teecd", "/dev/teelog")


async def test_optees_containers_get_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = await answered("optee", monkeypatch, device="/dev/tee1")
    assert tee.access().host_paths() == ("/dev/tee1",)
    assert "--backend-option device=/dev/tee1" in tee.access().missing_fix
    assert tee.default_reserve_bytes == 2.5 * 1024**2


def test_before_the_first_reading_there_is_nothing_to_hand_out() -> None:
    tee = LibTeec.from_options({})
    with pytest.raises(RuntimeError):
        tee.access()
    with pytest.raises(RuntimeError):
        _ = tee.default_reserve_bytes


async def test_a_query_that_takes_too_long_names_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.01)
    tee = LibTeec.from_options({})
    Scripted(tee, monkeypatch)
    tee._helpers.step = "TEEC_OpenSession"
    with pytest.raises(TimedOut, match=r"TEEC_OpenSession did not return within 0\.01 s"):
        await tee.memory()


async def test_a_helper_that_cant_be_ended_is_told_instead_of_another_query(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tee = LibTeec.from_options({})
    Scripted(tee, monkeypatch).ends = CantEndError(4711, "TEEC_InvokeCommand")
    expected = r"earlier query's helper \(process 4711\) can't be ended: .* TEEC_InvokeCommand"
    with pytest.raises(TimedOut, match=expected) as caught:
        await tee.memory()
    assert "what blocks the call" in caught.value.fix


async def test_a_helper_that_cant_be_started_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = LibTeec.from_options({})
    Scripted(tee, monkeypatch).ends = BlockingIOError(11, "Resource temporarily unavailable")
    with pytest.raises(BadReply, match=r"can't be started: .*temporarily unavailable"):
        await tee.memory()


async def test_without_any_library_here_it_says_what_it_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The real helper and the real loader, with nothing to be found.
    monkeypatch.setattr(
        "teeplugin_backends.libteec.options._LIBRARIES",
        {"auto": ("libno-such-teec.so", "libno-such-teec.so.2")},
    )
    async with LibTeec.from_options({}) as tee:
        with pytest.raises(Unreachable, match=r"libno-such-teec\.so, libno-such-teec\.so\.2: "):
            await tee.memory()


def test_the_default_identity_has_the_hash_that_the_driver_makes_of_it() -> None:
    identity = LibTeec.from_options({}).identity()
    assert identity is not None
    assert (identity.path, identity.user) == ("/vendor/bin/tee-device-plugin", "root")
    assert identity.sha256 == FACTS_SHA256


def test_the_identity_follows_the_options() -> None:
    identity = LibTeec.from_options({"identity": "/bin/x", "user": "tee"}).identity()
    assert identity is not None
    assert identity.sha256 == sha256(b"/bin/xtee" + bytes(253)).hexdigest()


def test_optee_asks_nobody_who_they_are() -> None:
    assert LibTeec.from_options({"flavour": "optee"}).identity() is None
