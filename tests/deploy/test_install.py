"""`make install` and `make uninstall` below a DESTDIR, the guide's own lines, and the unit."""

import os
import shutil
from pathlib import Path

import pytest

from teeplugin.config.go_flags import read_flags
from teeplugin.config.settings import Settings
from teeplugin.config.sources import load
from teeplugin.daemon import watchdog
from tests.deploy.files import DEPLOY, checkout, run, tree
from tests.needs import need

UNIT = DEPLOY / "systemd" / "tee-device-plugin.service"
UNIT_ON_HOST = "usr/lib/systemd/system/tee-device-plugin.service"
SETTINGS = "etc/tee-device-plugin/config.yaml"
BUILT = {
    "tee-limit": b"hook",
    "tee-device-plugin": b"#!/bin/sh\n",
    "libteememca.so": b"library",
    "ours.sec": b"signed",
}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host's root that isn't empty, with a checkout beside it."""
    (tmp_path / "checkout").mkdir()
    checkout(tmp_path / "checkout", built=BUILT)
    root = tmp_path / "host"
    for path in ("data/another.sec", "vendor/bin/another"):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text("not ours")
    return root


def make(host: Path, target: str, **variables: str) -> str:
    result = run(
        "make", target, f"DESTDIR={host}", cwd=host.parent / "checkout", variables=variables
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_install_puts_each_file_where_the_guide_has_it(host: Path) -> None:
    before = tree(host)
    make(host, "install")
    assert tree(host) - before == {
        "data/ours.sec",
        SETTINGS,
        "usr/bin/tee-device-plugin",
        "usr/lib64/libteememca.so",
        UNIT_ON_HOST,
        "usr/libexec/tee-limit",
        *(f"usr/lib/systemd/system/tee-limit.{kind}" for kind in ("path", "service", "timer")),
        "usr/lib/tmpfiles.d/tee-device-plugin.conf",
        "usr/share/tee-device-plugin/config.yaml",
        "usr/share/tee-device-plugin/installed",
        "vendor/bin/tee-device-plugin",
    }
    assert os.access(host / "vendor/bin/tee-device-plugin", os.X_OK)
    assert (host / "usr/bin/tee-device-plugin").readlink() == Path("/vendor/bin/tee-device-plugin")


def test_an_uninstall_leaves_what_was_there_and_nothing_else(host: Path) -> None:
    before = tree(host)
    make(host, "install")
    make(host, "uninstall")
    assert tree(host) == before
    assert not (host / "etc" / "tee-device-plugin").exists()


def test_an_uninstall_removes_what_was_installed_and_not_what_is_built_now(host: Path) -> None:
    make(host, "install")
    shutil.rmtree(host.parent / "checkout" / "pkg")
    make(host, "uninstall")
    assert "data/ours.sec" not in tree(host)
    assert "data/another.sec" in tree(host)


def test_an_uninstall_takes_the_specification_away_that_names_the_hook(host: Path) -> None:
    make(host, "install")
    specification = host / "etc" / "cdi" / "tee-device-plugin.json"
    specification.parent.mkdir()
    specification.touch()
    make(host, "uninstall")
    assert not specification.exists()


def test_changed_settings_outlive_an_install_and_an_uninstall(host: Path) -> None:
    make(host, "install")
    (host / SETTINGS).write_text("precision: 1024\n")
    make(host, "install")
    assert (host / SETTINGS).read_text() == "precision: 1024\n"
    assert "was changed, and is left" in make(host, "uninstall")
    assert (host / SETTINGS).read_text() == "precision: 1024\n"


def test_a_prefix_moves_what_the_tee_does_not_know_by_its_path(host: Path) -> None:
    make(host, "install", PREFIX="/usr/local")
    installed = tree(host)
    assert "usr/local/lib64/libteememca.so" in installed
    assert "usr/local/bin/tee-device-plugin" in installed
    assert "vendor/bin/tee-device-plugin" in installed
    assert "data/ours.sec" in installed


def test_without_a_signed_application_it_is_said(host: Path) -> None:
    (host.parent / "checkout" / "pkg" / "ours.sec").unlink()
    assert "make application" in make(host, "install")


def test_nothing_built_and_nothing_installed_are_told_in_one_line(host: Path) -> None:
    (host.parent / "checkout" / "pkg" / "tee-device-plugin").unlink()
    for target, words in (("install", "make executable"), ("uninstall", "make install")):
        result = run("make", target, f"DESTDIR={host}", cwd=host.parent / "checkout")
        assert result.returncode != 0
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert words in line


def test_the_units_settings_are_the_plugins_defaults() -> None:
    read = load(read_flags(["--config", str(DEPLOY / "systemd/config.yaml")], {}).values, {})
    assert read.settings == Settings()


def values(section: str, key: str) -> list[str]:
    lines = UNIT.read_text().partition(f"[{section}]")[2].partition("\n[")[0].splitlines()
    return [
        word
        for line in lines
        if line.startswith(f"{key}=")
        for word in line.partition("=")[2].split()
    ]


def test_the_service_is_up_before_any_kubelet_and_waits_for_none() -> None:
    kubelets = {"kubelet.service", "k0sworker.service", "k3s.service", "k3s-agent.service"}
    assert kubelets | {"rke2-agent.service"} <= set(values("Unit", "Before"))
    ordered = {*values("Unit", "After"), *values("Unit", "Requires"), *values("Unit", "Wants")}
    assert ordered == {"teecd.service", "modprobe@tee.service"}
    # The kubelet waits until the plugin has a list: see teeplugin/daemon/systemd.py.
    assert values("Service", "Type") == ["notify"]


def test_systemd_waits_longer_than_the_plugins_own_watchdog() -> None:
    (seconds,) = values("Service", "WatchdogSec")
    assert float(seconds) > watchdog.BLOCKED_SECONDS + watchdog.LOOK_SECONDS


def test_a_helper_in_the_tee_keeps_the_service_from_nothing() -> None:
    assert values("Service", "KillMode") == ["process"]


def test_the_device_class_is_known_when_the_service_starts() -> None:
    assert values("Service", "DeviceAllow") == ["char-tee", "rw", "/dev/teelog", "r"]
    for key in ("Wants", "After"):
        assert "modprobe@tee.service" in values("Unit", key)


def test_a_node_on_which_no_kubelet_ever_ran_has_the_directory_before_it_is_mounted() -> None:
    _, path, mode, *_ = (DEPLOY / "systemd/tmpfiles.conf").read_text().splitlines()[-1].split()
    assert (values("Service", "ReadWritePaths"), mode) == ([path], "0750")


def systemd(*arguments: str) -> str:
    need("systemd")
    result = run("systemd-analyze", *arguments)
    return result.stdout + result.stderr


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # The only thing that this machine can't know.
    unit.write_text(UNIT.read_text().replace("/vendor/bin/tee-device-plugin", "/bin/true"))
    assert systemd("verify", "--man=no", str(unit)) == ""


def test_systemd_counts_the_unit_among_the_well_confined() -> None:
    report = systemd("security", "--offline=true", "--no-pager", str(UNIT))
    exposure = float(report.partition("Overall exposure level")[2].split()[2])
    print(f"\nexposure by systemd-analyze security: {exposure} (0 to 10)")
    assert exposure < 2
