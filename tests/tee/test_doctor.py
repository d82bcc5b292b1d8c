"""`doctor` on the way through libteec: set-ups broken on purpose, each mended by its fix.

The real helper loads the test libteec; each test breaks one link, sees its line be the first that
fails, does what the fix says, and sees it turn ok.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import anyio
import pytest

from teeplugin.commands.doctor.model import Report
from teeplugin_backends.base import Result
from teeplugin_backends.libteec import backend, checks, files
from teeplugin_backends.libteec.checks import CHECKS
from tests.doctoring import broken, flag_in, mended, warned
from tests.tee.asking import (
    calls_of,
    made_tee,  # noqa: F401 - the fixture `tee`
)
from tests.tee.doctored import (
    Site,
    made_site,  # noqa: F401 - the fixture `site`
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

ITRUSTEE = [
    *("library", "loading", "flavour", "driver", "confidential-os", "teecd", "identity", "user"),
    *("trusted-application", "versions", "long-calls"),
]
OPTEE = [
    *("library", "loading", "flavour", "device", "supplicant", "identity", "trusted-application"),
    *("heap", "pool-end"),
]


def of_the_way(report: Report) -> list[str]:
    return [line.finding.check for line in report.lines if line.finding.check in CHECKS]


# ---- all is well


@pytest.mark.parametrize(("vendor", "links"), [("itrustee", ITRUSTEE), ("optee", OPTEE)])
async def test_a_tee_that_answers_has_a_way_that_holds(
    site: Site, vendor: str, links: list[str]
) -> None:
    report = await site.examined(vendor)
    assert of_the_way(report) == links
    assert not {*CHECKS, "query", "figures", "reserve", "precision", "containers"} & {
        *report.failures
    }
    assert report.of("library").text == str(site.tee.built.library(vendor))
    assert report.of("flavour").text == f"{vendor}, by its symbols"
    assert site.tee.calls() == calls_of(vendor), "it is asked once"
    assert site.tee.refusals() == []
    await site.tee.no_helper_is_left()


async def test_the_real_command_asks_by_the_real_helper(site: Site) -> None:
    launch = (
        "import os, sys; from teeplugin.cli.main import main; "
        "from teeplugin_backends.libteec import process; process._ENVIRONMENT.update("
        "(k, v) for k, v in os.environ.items() if k.startswith('TEST_TEE')); sys.exit(main())"
    )
    directory = site.tee.directory
    result = await anyio.run_process(
        [sys.executable, "-c", launch, "doctor", "--format=json", *site.flags()],
        check=False,
        env={
            **os.environ,
            "TEST_TEE_STATE": f"{directory}/state",
            "TEST_TEE_LOG": f"{directory}/log",
        },
    )
    told = json.loads(result.stdout)
    assert result.stderr == b""
    results = {check["check"]: check["result"] for check in told["checks"]}
    assert (results["loading"], results["identity"], results["query"]) == ("ok", "ok", "ok")
    assert site.tee.calls() == calls_of("itrustee")


# ---- the library


async def test_no_library(site: Site) -> None:
    report = await site.examined(library="/nowhere/libteec.so")
    fix = broken(report, "library", "there is no /nowhere/libteec.so")
    assert report.of("loading").result is Result.NOT_APPLICABLE
    assert report.of("flavour").result is Result.NOT_APPLICABLE
    assert flag_in(fix, "--backend-option")[1].startswith("library=")
    mended(await site.examined(library=site.tee.built.itrustee), "library")


async def test_a_library_by_its_name_is_found_as_the_loader_finds_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = site.tee.built.missing_dependency["itrustee"]
    monkeypatch.setattr(files, "_LOADER_CACHE", site.tee.directory / "none")
    monkeypatch.setattr(files, "_DIRECTORIES", ("/nowhere",))
    report = await site.examined(library=None)
    broken(report, "library", "there is no libteec.so, libteec.so.2, libteec.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(found.parent))
    assert (await site.examined(library=None)).of("library").text == str(found)
    monkeypatch.delenv("LD_LIBRARY_PATH")
    cache = site.tee.directory / "cache"
    cache.write_bytes(b"glibc-ld.so.cache1.1\0libteec.so\0" + os.fsencode(found) + b"\0/x/other\0")
    monkeypatch.setattr(files, "_LOADER_CACHE", cache)
    assert (await site.examined(library=None)).of("library").text == str(found)


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_a_library_that_lacks_another(site: Site, vendor: str) -> None:
    lacking = site.tee.built.missing_dependency[vendor]
    fix = broken(await site.examined(library=lacking), "loading", "libboundscheck.so: cannot open")
    assert fix.endswith(f"list all that it needs:\nldd {lacking}")
    mended(await site.examined(vendor), "loading")


@pytest.mark.parametrize("fault", ["exit", "hang", "crash"])
async def test_a_library_that_doesnt_survive_its_loading(
    site: Site, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.5)
    site.tee.play(fault=f"load:{fault}")
    report = await site.examined()
    fix = broken(report, "loading", "ended the helper, or didn't return")
    assert "reinstall the vendor's library" in fix
    site.tee.play()
    mended(await site.examined(), "loading")


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_a_library_that_lacks_a_function(site: Site, vendor: str) -> None:
    lacking = site.tee.built.missing_symbol[vendor]
    fix = broken(await site.examined(library=lacking), "flavour", "exports no TEEC_InvokeCommand")
    assert "install the libteec of this node's TEE" in fix
    mended(await site.examined(vendor), "flavour")


async def test_another_vendors_library_than_was_said(site: Site) -> None:
    report = await site.examined("optee", flavour="itrustee")
    fix = broken(report, "flavour", "is optee's library, not itrustee's")
    assert "flavour= of this node's TEE" in fix
    mended(await site.examined("optee", flavour="optee"), "flavour")


async def test_a_library_that_is_nobodys(site: Site) -> None:
    other = site.tee.built.libteememca
    fix = broken(await site.examined(library=other), "flavour", "neither iTrustee's nor OP-TEE's")
    assert "name the right one" in fix
    mended(await site.examined(), "flavour")


# ---- OP-TEE


@pytest.mark.parametrize("there", [False, True])
async def test_a_device_that_isnt_there_or_may_not_be_opened(site: Site, *, there: bool) -> None:
    device = "/dev/null" if there else "/dev/tee-nowhere"
    site.tee.play(fault="init:result:0xFFFF0008")
    words = "exists, but can't be opened" if there else f"there is no {device}"
    fix = broken(await site.examined("optee", device=device), "device", words)
    assert "privileged" in fix
    site.tee.play()
    mended(await site.examined("optee", device=device), "device")


async def test_no_supplicant(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.root / "dev" / "teepriv0").unlink()
    fix = warned(await site.examined("optee"), "supplicant", "there is no")
    assert "start tee-supplicant on the node" in fix
    (site.root / "dev" / "teepriv0").touch()
    monkeypatch.setattr(files, "sees_all_processes", lambda: False)
    unseen = (await site.examined("optee")).of("supplicant")
    assert (unseen.result, unseen.fix) == (
        Result.NOT_APPLICABLE,
        "run on the node:\nsystemctl status tee-supplicant",
    )
    own = Path("/proc/self/comm").read_text().strip()
    monkeypatch.setattr(checks, "_SUPPLICANT", own)
    mended(await site.examined("optee"), "supplicant")


async def test_a_supplicant_that_has_ended_on_the_host_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sees_all_processes", lambda: True)
    fix = warned(await site.examined("optee"), "supplicant", "tee-supplicant doesn't run")
    assert "systemctl restart tee-supplicant" in fix


async def test_statistics_that_are_looked_for_through_a_dead_supplicant(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.5)
    site.tee.play(fault="open:hang")
    report = await site.examined("optee")
    fix = broken(report, "trusted-application", "in the TEE, or OP-TEE has no statistics pseudo-TA")
    assert "start tee-supplicant" in fix
    assert "CFG_WITH_STATS=y" in fix
    assert "no statistics pseudo-TA" in report.of("query").text


async def test_a_heap_of_op_tee_that_is_used_up(site: Site) -> None:
    site.tee.play(heap_free_bytes=8191)
    report = await site.examined("optee")
    fix = broken(report, "heap", "has 7 of 200 KiB free: enough for about 0 more")
    assert "CFG_CORE_HEAP_SIZE" in fix
    assert report.of("query").text.startswith("exhausted: OP-TEE's own heap has 7 of 200 KiB")
    site.tee.play(heap_free_bytes=8192)
    mended(await site.examined("optee"), "heap")


async def test_the_end_of_the_pool_is_said_to_be_what_it_is(site: Site) -> None:
    site.tee.play(total_bytes=15 << 20, free_bytes=1800 << 10)
    fix = warned(await site.examined("optee"), "pool-end", "1800 KiB are free, the last 2048 KiB")
    assert "--reserve" in fix
    site.tee.play(total_bytes=15 << 20, free_bytes=10 << 20)
    mended(await site.examined("optee"), "pool-end")


async def test_an_op_tee_without_statistics(site: Site) -> None:
    site.tee.play(ta_present=0)
    fix = broken(await site.examined("optee"), "trusted-application", "no statistics pseudo-TA")
    assert fix == "build OP-TEE with CFG_WITH_STATS=y"
    site.tee.play()
    mended(await site.examined("optee"), "trusted-application")


# ---- the query


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_a_hung_tee_is_named_by_its_call_and_costs_the_deadline_only(
    site: Site, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.5)
    site.tee.play(fault="invoke:hang")
    began = time.monotonic()
    report = await site.examined(vendor)
    assert time.monotonic() - began < 5
    words = "timed-out: TEEC_InvokeCommand did not return within 0.5 s"
    assert "calls stuck in the TEE" in broken(report, "query", words)
    await site.tee.no_helper_is_left()
    site.tee.play()
    mended(await site.examined(vendor), "query")


async def test_a_busy_tee_is_a_warning(site: Site) -> None:
    site.tee.play(fault="open:result:0xFFFF000D")
    report = await site.examined()
    assert "multi_session" in warned(report, "query", "busy: TEEC_OpenSession: 0xFFFF000D BUSY")
    site.tee.play()
    mended(await site.examined(), "query")


async def test_a_trusted_application_that_answers_something_else(site: Site) -> None:
    site.tee.play(reply_size=8)
    fix = broken(await site.examined(), "query", "8 bytes came back, not 16")
    assert "match each other" in fix
    site.tee.play()
    mended(await site.examined(), "query")


async def test_a_pool_without_memory(site: Site) -> None:
    site.tee.play(fault="open:result:0xFFFF000C")
    fix = broken(await site.examined(), "query", "exhausted: ")
    assert "end trusted applications" in fix
    site.tee.play()
    mended(await site.examined(), "query")
