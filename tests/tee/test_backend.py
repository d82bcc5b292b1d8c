"""The whole way: kubelet ← the real plugin process → helper → ctypes → C ABI → our TA's code."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from teeplugin.policy.units import KIB
from teeplugin.simulator import SimulatedKubelet
from tests.contract.under_test import Simulated
from tests.tee.build import CA_PATH, USER, Built, read_log
from tests.tee.plugin import GIB, LibteecPlugin
from tests.usage import Usage
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

UNIT_BYTES = 512 * KIB
UNITS = {
    "itrustee": (GIB - 600 * 1024 * KIB) // UNIT_BYTES,
    "optee": (GIB - 2560 * KIB) // UNIT_BYTES,
}
QUERIES = int(os.environ.get("TEE_QUERIES", "200"))
"""How many the test of the plugin's memory asks; 1000 for the full measurement."""


@pytest.fixture
async def kubelet(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Simulated]:
    async with SimulatedKubelet(kubelet_dir) as simulated:
        kubelet = Simulated(simulated, tmp_path / "node")
        (kubelet.host_root / "dev" / "tee0").touch()
        yield kubelet


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_what_the_tee_has_less_the_reserve_is_listed_in_units(
    vendor: str, built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.library(vendor)) as plugin:
        await kubelet.has(UNITS[vendor])
        await kubelet.keeps(UNITS[vendor])
        assert plugin.events("capacity")[0]["total_bytes"] == GIB
        await kubelet.admit("pod", 10)
        handed = await kubelet.handed("pod")
        given = {
            "itrustee": {"/dev/teelog", "/dev/tc_ns_cvm", "/var/itrustee/teecd"},
            "optee": {"/dev/tee0"},
        }
        assert {*handed.devices, *handed.mounts} == given[vendor]
        assert plugin.stop() == 0
        await plugin.no_helper_is_left()


async def test_while_it_asks_its_name_and_user_are_what_identity_prints(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.itrustee) as plugin:
        plugin.play(fault="invoke:slow:1000")
        await eventually("a query", lambda: plugin.calls("invoke"))
        [helper] = plugin.helpers()
        assert Path(f"/proc/{helper}/cmdline").read_bytes().startswith(CA_PATH.encode() + b"\0")
        uids = [str(os.getuid())] * 4
        assert Path(f"/proc/{helper}/status").read_text().partition("Uid:")[2].split()[:4] == uids
        assert read_log(plugin.tee_log, "call")[-1]["user"] == USER


async def test_under_another_name_it_is_refused_and_the_log_says_what_to_do(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    options = (f"identity={sys.executable}",)
    with LibteecPlugin(tmp_path, kubelet, built.itrustee, options=options) as plugin:
        entry = await plugin.logged("tee_unhealthy")
        assert entry["cause"] == "refused"
        assert "CA_CALLER_ACCESS_DENIED" in entry["error"]
        assert "tee-device-plugin identity" in entry["fix"]
        assert not plugin.count("registered")


# What the TEE is told to be, the kind that is logged, and words of its fix.
Fault = tuple[str, dict[str, object], str, str]
FAULTS: list[Fault] = [
    ("itrustee", {"fault": "init:result:0xFFFF0000"}, "refused", "/etc/passwd"),
    ("itrustee", {"ta_present": 0}, "refused", "ta-path"),
    ("itrustee", {"fault": "open:result:0xFFFF9117"}, "refused", "identity"),
    ("itrustee", {"fault": "open:result:0xFFFF000D"}, "busy", "multi_session"),
    ("itrustee", {"fault": "invoke:result:0xFFFF3024"}, "bad-reply", "tlogcat"),
    ("itrustee", {"reply_unit": 0}, "bad-reply", "match"),
    ("itrustee", {"reply_free": GIB + 1}, "bad-reply", "match"),
    ("itrustee", {"fault": "invoke:crash"}, "bad-reply", "crash"),
    ("itrustee", {"fault": "load:exit"}, "unreachable", "vendor's library"),
    ("optee", {"fault": "init:result:0xFFFF0008"}, "unreachable", "/dev/tee0"),
    ("optee", {"ta_present": 0}, "refused", "CFG_WITH_STATS=y"),
    ("optee", {"reply_size": 8}, "bad-reply", "match"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_is_logged_and_listed_and_over_when_it_is_mended(
    fault: Fault, built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    vendor, state, kind, fix = fault
    with LibteecPlugin(tmp_path, kubelet, built.library(vendor)) as plugin:
        await kubelet.has(UNITS[vendor])
        plugin.play(**state)
        entry = await plugin.logged("tee_unhealthy", deadline_seconds=20)
        assert entry["cause"] == kind
        assert fix in entry["fix"]
        await kubelet.has(0)
        await kubelet.keeps(UNITS[vendor])
        plugin.play()
        await plugin.logged("tee_recovered")
        await kubelet.has(UNITS[vendor])
        assert plugin.stop() == 0
        await plugin.no_helper_is_left()
        assert plugin.count("backend_bug") == 0


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_a_library_that_isnt_right_is_told_and_a_right_one_ends_it(
    vendor: str, built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    wrong = {
        "cannot open shared object file": tmp_path / "nowhere.so",
        "TEEC_InvokeCommand": built.missing_symbol[vendor],
        "libboundscheck.so": built.missing_dependency[vendor],
    }
    with LibteecPlugin(tmp_path, kubelet, built.library(vendor)) as plugin:
        for times, (words, library) in enumerate(wrong.items(), start=1):
            await kubelet.has(UNITS[vendor])
            plugin.use(library)
            entry = await plugin.logged("tee_unhealthy", times)
            assert entry["cause"] == "unreachable"
            assert words in entry["error"]
            assert "library=" in entry["fix"]
            await kubelet.has(0)
            plugin.use(built.library(vendor))
            await plugin.logged("tee_recovered", times)


async def test_exhaustion_keeps_the_list_as_it_is(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.itrustee) as plugin:
        await kubelet.has(UNITS["itrustee"])
        plugin.play(fault="open:result:0xFFFF000C")
        assert (await plugin.logged("tee_fault_suspected"))["cause"] == "exhausted"
        await kubelet.has(UNITS["itrustee"])
        plugin.play()
        await plugin.logged("tee_suspected_fault_over")


async def test_no_unit_is_healthy_that_no_application_could_use_for_want_of_op_tees_heap(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.optee) as plugin:
        await kubelet.has(UNITS["optee"])
        plugin.play(heap_free_bytes=8191)
        entry = await plugin.logged("tee_fault_suspected")
        assert entry["cause"] == "exhausted"
        assert "OP-TEE's own heap has 7 of 200 KiB free" in entry["error"]
        await kubelet.has(0)
        plugin.play()
        await kubelet.has(UNITS["optee"])


@pytest.mark.parametrize("call", ["load", "init", "open", "invoke", "close", "finalize"])
async def test_a_hang_costs_one_helper_at_a_time_and_is_over_when_it_is_mended(
    call: str, built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.itrustee, answer_seconds="0.5") as plugin:
        await kubelet.has(UNITS["itrustee"])
        plugin.play(fault=f"{call}:hang")
        entry = await plugin.logged("tee_unhealthy", deadline_seconds=20)
        assert entry["cause"] == "timed-out"
        assert "did not return within 0.5 s" in entry["error"]
        assert len(plugin.helpers()) <= 1
        await kubelet.has(0)
        plugin.play()
        await plugin.logged("tee_recovered")
        await kubelet.has(UNITS["itrustee"])
        assert plugin.stop() == 0
        await plugin.no_helper_is_left()


async def test_a_hang_is_over_at_the_plugins_deadline(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.itrustee) as plugin:
        await kubelet.has(UNITS["itrustee"])
        plugin.play(fault="open:hang")
        before = plugin.calls("open")
        await eventually("the hang", lambda: plugin.calls("open") > before)
        started = time.monotonic()
        entry = await plugin.logged("tee_fault_suspected", deadline_seconds=20)
        assert 8 < time.monotonic() - started < 11
        assert "TEEC_OpenSession did not return within 9.5 s" in entry["error"]
        assert len(plugin.helpers()) <= 1
        assert len(await kubelet.healthy()) == UNITS["itrustee"]


async def test_sigterm_ends_it_within_two_seconds_while_the_tee_hangs(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.itrustee) as plugin:
        await kubelet.has(UNITS["itrustee"])
        plugin.play(fault="invoke:hang")
        before = plugin.calls("invoke")
        await eventually("the hang", lambda: plugin.calls("invoke") > before)
        plugin.signal(signal.SIGTERM)
        assert plugin.wait(2) == 0
        await plugin.no_helper_is_left()


async def test_killed_while_the_tee_hangs_it_leaves_no_helper(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with LibteecPlugin(tmp_path, kubelet, built.itrustee) as plugin:
        plugin.play(fault="invoke:hang")
        await eventually("the hang", lambda: plugin.calls("invoke"))
        plugin.kill()
        await plugin.no_helper_is_left()


@pytest.mark.timeout(600)
async def test_many_queries_with_a_tenth_of_faults_dont_make_it_grow(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    plugin = LibteecPlugin(tmp_path, kubelet, built.itrustee)
    plugin.command[-1] = "0.01"
    with plugin:
        await kubelet.has(UNITS["itrustee"])

        async def asked(more: int) -> None:
            enough = plugin.calls("init") + more
            await eventually(
                f"{more} queries", lambda: plugin.calls("init"), 60, until=lambda n: n >= enough
            )

        await asked(40)
        before = Usage.of(plugin.pid).rss_mb
        for fault in range(QUERIES // 10):
            plugin.play(fault=("init:result:0xFFFF0000", "open:result:0xFFFF000F")[fault % 2])
            await plugin.logged("tee_unhealthy", fault + 1)
            plugin.play()
            await asked(9)
        growth_mb = Usage.of(plugin.pid).rss_mb - before
        print(f"{plugin.calls('init')} queries: {before:.1f} MB, then {growth_mb:+.1f} MB")
        assert growth_mb < 2
