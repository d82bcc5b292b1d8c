"""`doctor` on iTrustee's driver, daemon, allowlist and trusted application; see test_doctor."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from teeplugin_backends.base import Result
from teeplugin_backends.libteec import backend, checks
from tests.doctoring import broken, mended, warned
from tests.tee.asking import made_tee  # noqa: F401 - the fixture `tee`
from tests.tee.build import CA_PATH
from tests.tee.doctored import (
    LOGIN_FAILS,
    Site,
    made_site,  # noqa: F401 - the fixture `site`
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_driver_that_isnt_loaded(site: Site) -> None:
    site.tee.play(fault=LOGIN_FAILS)
    node = site.root / "dev" / "tc_ns_client"
    node.unlink()
    fix = broken(await site.examined(), "driver", f"there is no {node}")
    assert "tzdriver" in fix
    node.touch()
    mended(await site.examined(), "driver")


async def test_a_driver_whose_node_isnt_seen_is_there_where_the_tee_answers(site: Site) -> None:
    (site.root / "dev" / "tc_ns_client").unlink()
    mended(await site.examined(), "driver")


async def test_an_os_that_isnt_confidential(site: Site) -> None:
    node = site.root / "dev" / "tc_ns_cvm"
    node.unlink()
    report = await site.examined()
    fix = broken(report, "confidential-os", "which only a confidential OS has")
    assert "where --host-root has it" in fix
    assert "containers" in report.failures
    without = await site.examined(confidential_node="false")
    assert not {"confidential-os", "containers"} & {*without.failures}
    node.touch()
    mended(await site.examined(), "confidential-os")


@pytest.mark.parametrize("what", ["no socket", "no directory", "a file", "nobody listens", "hangs"])
async def test_a_teecd_that_cant_be_had(
    site: Site, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.5)
    path = Path(checks.TEECD_SOCKET)
    site.tee.play(fault="init:hang" if what == "hangs" else LOGIN_FAILS)
    if what == "no directory":
        monkeypatch.setattr(checks, "TEECD_SOCKET", str(path.parent / "none" / path.name))
    elif what in ("no socket", "a file"):
        path.unlink()
    if what == "a file":
        path.touch()
    words = {
        "no socket": f"there is no {path}",
        "no directory": "none/teecd.sock",
        "a file": "is no socket",
        "nobody listens": "teecd can't be reached, or doesn't know who we are",
        "hangs": "TEEC_InitializeContext didn't return",
    }[what]
    fix = broken(await site.examined(), "teecd", words)
    assert "teecd" in fix
    site.tee.play()
    mended(await site.examined(), "teecd")


async def test_a_teecd_whose_mount_is_dead(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.stat
    lost = Path(checks.TEECD_SOCKET).parent

    def no_links(path: Path, **how: bool) -> os.stat_result:
        status = real(path, **how)
        if path != lost:
            return status
        parts = list(status)
        parts[stat.ST_NLINK] = 0
        return os.stat_result(parts)

    site.tee.play(fault=LOGIN_FAILS)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", no_links)
        fix = broken(await site.examined(), "teecd", "this mount of it is dead")
    assert "restart the pod" in fix
    site.tee.play()
    mended(await site.examined(), "teecd")


async def test_a_name_that_isnt_on_the_white_list(site: Site) -> None:
    report = await site.examined(identity=sys.executable)
    fix = broken(report, "identity", f"{sys.executable} as root: ")
    assert "tee-device-plugin identity" in fix
    report = await site.examined(identity=CA_PATH)
    mended(report, "identity")
    assert report.of("identity").text == f"{CA_PATH} as root is admitted"


async def test_a_user_that_isnt_on_the_white_list(site: Site) -> None:
    report = await site.examined(user="tee")
    fix = broken(report, "user", "uid 0 is root in /etc/passwd, not tee")
    assert "--backend-option user=" in fix
    mended(await site.examined(user="root"), "user")


async def test_a_user_without_a_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.tee.play(fault=LOGIN_FAILS)
    with monkeypatch.context() as patched:
        patched.setattr(checks, "passwd_name", lambda _: None)
        report = await site.examined()
        assert report.of("user").result is Result.FAILED
        assert "put an /etc/passwd with our user" in report.of("user").fix
    mended(await site.examined(), "user")


@pytest.mark.parametrize("what", ["isn't there", "is empty", "is no file", "is a link to"])
async def test_a_trusted_application_whose_file_cant_be_one(site: Site, what: str) -> None:
    site.tee.play(ta_present=0)
    path = site.application
    path.unlink()
    if what == "is empty":
        path.touch()
    elif what == "is no file":
        path.mkdir()
    elif what == "is a link to":
        other = site.tee.directory / "ta.bin"
        other.write_bytes(b"signed")
        path.symlink_to(other)
    fix = broken(await site.examined(), "trusted-application", what)
    assert "the signed file of this UUID" in fix
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(b"signed")
    site.tee.play()
    mended(await site.examined(), "trusted-application")


@pytest.mark.parametrize(
    ("fault", "words", "fix"),
    [
        ("open:result:0xFFFF3072", "SIGNATURE_INVALID", "sign the trusted application"),
        ("open:result:0x2", "SERVICE_NOT_EXIST", "put the signed <uuid>.sec"),
        ("open:result:0xD", "TRUSTED_APP_LOAD_ERROR", "put the signed <uuid>.sec"),
        ("invoke:result:0xFFFF3024", "TARGET_DEAD", "tlogcat"),
    ],
)
async def test_a_trusted_application_that_the_tee_refuses(
    site: Site, fault: str, words: str, fix: str
) -> None:
    site.tee.play(fault=fault)
    assert fix in broken(await site.examined(), "trusted-application", words)
    site.tee.play()
    mended(await site.examined(), "trusted-application")


async def test_a_trusted_application_of_another_name(site: Site) -> None:
    other = site.application.with_name("ours.sec")
    site.application.rename(other)
    site.tee.play(fault="open:result:0xFFFF000D")
    fix = warned(await site.examined(ta_path=other), "trusted-application", "isn't named by")
    assert "--backend-option uuid=" in fix
    other.rename(site.application)
    mended(await site.examined(), "trusted-application")
