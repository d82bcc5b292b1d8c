"""`doctor` on iTrustee's driver, daemon, allowlist and trusted application; see test_doctor."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path

import pytest

from teeplugin_backends.base import Result
from teeplugin_backends.libteec import backend, checks, teecd
from tests.doctoring import broken, mended, warned
from tests.tee.asking import (
    made_tee,  # noqa: F401 - the fixture `tee`
    use_teecd,
)
from tests.tee.build import CA_PATH, USER, write_signed
from tests.tee.doctored import (
    LOGIN_FAILS,
    Site,
    made_site,  # noqa: F401 - the fixture `site`
)
from tests.tee.teecd import MockTeecd

HEAD = struct.Struct("<IHHII")
DAMAGED = {
    "is damaged: it has 10 bytes": bytes(10),
    "its first bytes are wrong": bytes(80),
    "is too large": HEAD.pack(0xA5A55A5A, 0x55AA, 4, 9 << 20, 0) + bytes(64),
    "is truncated: 64 of 80 bytes": HEAD.pack(0xA5A55A5A, 0x55AA, 4, 64, 0) + bytes(48),
}

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
    assert "below --host-root" in fix
    assert "containers" in report.failures
    without = await site.examined(confidential_node="false")
    assert not {"confidential-os", "containers"} & {*without.failures}
    node.touch()
    mended(await site.examined(), "confidential-os")


@pytest.mark.parametrize("what", ["no socket", "no directory", "a file", "nobody listens"])
async def test_a_teecd_that_is_not_running(
    site: Site, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site.teecd.path
    site.teecd.kill()
    if what != "nobody listens":
        path.unlink()
    if what == "no directory":
        monkeypatch.setattr(teecd, "SOCKET", str(path.parent / "none" / path.name))
    elif what == "a file":
        path.touch()
    words = {
        "no socket": f"there is no {path}",
        "no directory": "none/teecd.sock",
        "a file": "is not a socket",
        "nobody listens": f"no process listens at {path}",
    }[what]
    report = await site.examined()
    assert "systemctl start teecd" in broken(report, "teecd", words)
    assert report.of("query").text.startswith("unreachable: teecd is not running: ")
    monkeypatch.setattr(teecd, "SOCKET", str(path))
    site.teecd.start()
    mended(await site.examined(), "teecd")


async def test_a_teecd_that_is_kept_busy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.7)
    with site.teecd.kept_busy():
        report = await site.examined()
    fix = broken(report, "teecd", "though teecd accepts connections")
    assert "clients with idle connections to teecd" in fix
    assert report.of("query").text.startswith("timed-out: TEEC_InitializeContext did not return")


async def test_a_teecd_of_another_version(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with MockTeecd(site.tee.directory / "other.sock", major=3) as other:
        use_teecd(other, monkeypatch)
        report = await site.examined()
    fix = broken(report, "teecd", "libteec major version 2, teecd major version 3")
    assert "libteec and teecd of one release" in fix
    assert report.of("query").text.startswith("unreachable: ")


async def test_a_login_that_fails(site: Site) -> None:
    site.tee.play(fault=LOGIN_FAILS)
    fix = broken(await site.examined(), "teecd", "the login failed, though teecd runs")
    assert "an /etc/passwd that names its user" in fix


async def test_the_drivers_efault_is_not_blamed_on_the_white_list(site: Site) -> None:
    site.tee.play(fault="invoke:errno:14")
    report = await site.examined()
    assert report.of("identity").result is Result.OK
    assert "another trusted application" in broken(report, "query", "bad-reply: ")


async def test_a_teecd_whose_mount_is_dead(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.stat
    lost = site.teecd.path.parent

    def no_links(path: Path, **how: bool) -> os.stat_result:
        status = real(path, **how)
        if path != lost:
            return status
        parts = list(status)
        parts[stat.ST_NLINK] = 0
        return os.stat_result(parts)

    site.teecd.kill()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", no_links)
        fix = broken(await site.examined(), "teecd", "this mount of it is dead")
    assert "restart the pod" in fix
    site.teecd.start()
    mended(await site.examined(), "teecd")


async def test_a_name_that_isnt_on_the_white_list(site: Site) -> None:
    report = await site.examined(identity=sys.executable)
    fix = broken(report, "identity", f"{sys.executable} as {USER}: ")
    assert "tee-device-plugin identity" in fix
    report = await site.examined(identity=CA_PATH)
    mended(report, "identity")
    assert report.of("identity").text == f"{CA_PATH} as {USER} is admitted"


async def test_a_user_that_isnt_on_the_white_list(site: Site) -> None:
    report = await site.examined(user="tee")
    fix = broken(report, "user", f"uid {os.geteuid()} is {USER} in /etc/passwd, not tee")
    assert "--backend-option user=" in fix
    mended(await site.examined(user=USER), "user")


async def test_a_user_without_a_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.tee.play(fault=LOGIN_FAILS)
    with monkeypatch.context() as patched:
        patched.setattr(checks, "passwd_name", lambda _: None)
        report = await site.examined()
        assert report.of("user").result is Result.FAILED
        assert "put an /etc/passwd with the plugin's user" in report.of("user").fix
    mended(await site.examined(), "user")


@pytest.mark.parametrize(
    "what",
    [
        *(
            "isn't there",
            "is empty",
            "is not a file",
            "is a link to",
            "is damaged: it has 10 bytes",
        ),
        *("its first bytes are wrong", "is too large", "is truncated: 64 of 80 bytes"),
    ],
)
async def test_a_trusted_application_whose_file_cant_be_one(site: Site, what: str) -> None:
    path = site.application
    path.unlink()
    if what == "is empty":
        path.touch()
    elif what == "is not a file":
        path.mkdir()
    elif content := DAMAGED.get(what):
        path.write_bytes(content)
    elif what == "is a link to":
        other = site.tee.directory / "ta.bin"
        other.write_bytes(b"signed")
        path.symlink_to(other)
    report = await site.examined()
    fix = broken(report, "trusted-application", what)
    assert "the signed file of this UUID" in fix
    assert f"{path} {what}" in report.of("query").text or "first bytes" in what
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    write_signed(path)
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
    fix = warned(await site.examined(ta_path=other), "trusted-application", "has another name than")
    assert "--backend-option uuid=" in fix
    other.rename(site.application)
    mended(await site.examined(), "trusted-application")
