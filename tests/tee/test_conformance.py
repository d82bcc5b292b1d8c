"""The libteec backend keeps every promise of a backend, with either vendor's library behind it."""

from typing import ClassVar

import pytest

from teeplugin_backends.base import (
    BadReply,
    Busy,
    ContainerAccess,
    Device,
    Exhausted,
    Mount,
    Refused,
    TeeError,
    TimedOut,
    Unreachable,
)
from teeplugin_backends.conformance import BackendConformance
from teeplugin_backends.libteec import LibTeec, backend
from tests.tee.asking import DEFAULT, Tee, made_tee
from tests.tee.build import USER
from tests.waiting import eventually

__all__ = ["made_tee"]  # the fixture


class LibTeecConformance(BackendConformance):
    """What both flavours share."""

    backend = LibTeec
    name = "libteec"
    kinds = (Unreachable, Refused, Busy, TimedOut, BadReply, Exhausted)
    bad_options = (
        {"flavour": "amd"},
        {"library": "libteec.so"},
        {"uuid": "1234"},
        {"ta-path": "/data/ours.ta"},
        {"identity": "tee-device-plugin"},
        {"user": "0"},
        {"device": "tee0"},
    )
    expected_memory = DEFAULT
    vendor: str
    faults: ClassVar[dict[type[TeeError], dict[str, object]]]

    @pytest.fixture(autouse=True)
    def on_the_test_library(self, tee: Tee, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tee, self.monkeypatch = tee, monkeypatch
        self.calls_before_it_hung = 0

    def options(self) -> dict[str, str]:
        library, ta_file = self.tee.built.library(self.vendor), self.tee.directory / "ours.sec"
        return {"library": str(library), "ta-path": str(ta_file), "user": USER}

    def tee_is_well(self) -> None:
        self.play()

    def tee_fails(self, kind: type[TeeError]) -> None:
        if kind is TimedOut:
            self.play(fault="open:hang")
            self.monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.3)
        else:
            self.play(**self.faults[kind])

    def tee_hangs(self) -> None:
        self.calls_before_it_hung = self.tee.calls().count("invoke")
        self.play(fault="invoke:hang")

    async def until_it_hangs(self) -> None:
        await eventually(
            "a call that hangs",
            lambda: self.tee.calls().count("invoke"),
            until=lambda calls: calls > self.calls_before_it_hung,
        )

    def play(self, **what: object) -> None:
        self.monkeypatch.setattr(backend, "ANSWER_SECONDS", 9.5)
        self.tee.play(**what)


class TestItrustee(LibTeecConformance):
    vendor = "itrustee"
    faults: ClassVar = {
        Unreachable: {"fault": "open:result:0xFFFFABAB"},
        Refused: {"fault": "open:result:0xFFFF9117"},
        Busy: {"fault": "open:result:0xFFFF000D"},
        BadReply: {"reply_unit": 0},
        Exhausted: {"fault": "open:result:0xFFFF000C"},
    }
    expected_access = ContainerAccess(
        (Mount("/var/itrustee/teecd", "/var/itrustee/teecd"),),
        (Device("/dev/teelog", "/dev/teelog"), Device("/dev/tc_ns_cvm", "/dev/tc_ns_cvm")),
    )


class TestOptee(LibTeecConformance):
    vendor = "optee"
    faults: ClassVar = {
        Unreachable: {"fault": "init:result:0xFFFF0008"},
        Refused: {"ta_present": 0},
        Busy: {"fault": "open:result:0xFFFF000D"},
        BadReply: {"reply_size": 8},
        Exhausted: {"fault": "open:result:0xFFFF000C"},
    }
    expected_access = ContainerAccess(devices=(Device("/dev/tee0", "/dev/tee0"),))
