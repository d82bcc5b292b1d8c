"""Who refuses a permission, and what the log says of it."""

import errno
import os
from pathlib import Path

import pytest
from grpclib import Status

from teeplugin.kubelet import grpc_client, permission
from teeplugin.kubelet.device_plugin_service import DevicePluginService
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.grpc_client import CallError, CallRefused, CallTimedOut, NoAnswer, call
from teeplugin.kubelet.pod_resources_client import unreadable_fix
from teeplugin.kubelet.watch_streams import WatchStreams

PATH = Path("/k/device-plugins")


@pytest.fixture
def label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This root's label, by default none, outside any user namespace."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(permission, "in_user_namespace", lambda: False)
    monkeypatch.setattr(permission, "_LABEL", tmp_path / "current")
    return tmp_path / "current"


def test_another_user_is_to_be_root(label: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del label
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert permission.who_refuses(PATH) == "run the plugin as root: it runs as uid 65534"


def test_root_that_is_a_user_namespaces_is_told(
    label: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del label
    monkeypatch.setattr(permission, "in_user_namespace", lambda: True)
    assert "hostUsers: true" in permission.who_refuses(PATH)


def test_root_that_selinux_confines_is_told_with_the_command_to_run(label: Path) -> None:
    label.write_text("system_u:system_r:container_t:s0:c1,c2\0")
    told = permission.who_refuses(PATH)
    assert told.startswith("SELinux denies it to system_u:system_r:container_t:s0:c1,c2: ")
    assert "container_device_plugin_t" in told
    assert "ausearch -m avc -ts recent; ls -ldZ /k/device-plugins" in told


@pytest.mark.parametrize("text", [None, "cri-containerd.apparmor.d (enforce)\n"])
def test_any_other_root_is_told_where_to_look(label: Path, text: str | None) -> None:
    if text:
        label.write_text(text)
    told = permission.who_refuses(PATH)
    assert "without capabilities" in told
    assert "ls -ldZ /k/device-plugins" in told


FIXES: dict[str, tuple[CallError, str]] = {
    "refused by permission": (NoAnswer("Permission denied: SELinux", errno.EACCES), "at its end"),
    "not permitted": (NoAnswer("Operation not permitted: SELinux", errno.EPERM), "at its end"),
    "hangs": (CallTimedOut("no answer within 2 s"), "restart it if it hangs"),
    "too old": (CallRefused(Status.UNIMPLEMENTED, None), "Kubernetes 1.20 or newer"),
    "asked too often": (CallRefused(Status.RESOURCE_EXHAUSTED, None), "too often"),
    "refuses": (CallRefused(Status.INTERNAL, None), "see its log"),
    "something else": (NoAnswer("it closed the connection at once"), "it must be the kubelet"),
    "a file": (NoAnswer("Socket operation on non-socket", errno.ENOTSOCK), "must be the kubelet"),
}


@pytest.mark.parametrize("kind", FIXES)
def test_each_reason_why_records_cannot_be_read_has_the_fix_that_fits(kind: str) -> None:
    error, words = FIXES[kind]
    fix = unreadable_fix(Path("/k/pod-resources/kubelet.sock"), error)
    assert words in fix
    assert "mount" not in fix


def test_a_socket_that_is_dead_is_of_a_kubelet_that_is_down_or_has_another_root_directory() -> None:
    dead = NoAnswer("Connection refused", errno.ECONNREFUSED)
    fix = unreadable_fix(Path("/k/pod-resources/kubelet.sock"), dead)
    assert fix.startswith(
        "start the kubelet: no process listens there; if it runs with a --root-dir, "
    )
    assert "--pod-resources-dir" in fix


def test_a_socket_that_is_missing_is_the_kubelets_or_the_directory_is(tmp_path: Path) -> None:
    missing = NoAnswer("No such file or directory", errno.ENOENT)
    for path, words in (
        ("kubelet.sock", "if it runs with a --root-dir"),
        ("a/s", "in a container"),
    ):
        fix = unreadable_fix(tmp_path / path, missing)
        assert fix.startswith("start the kubelet, which creates it; ")
        assert f"{words}, mount" in fix or f"{words} mount" in fix
        assert "--pod-resources-dir" in fix


@pytest.mark.anyio
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
async def test_a_call_that_is_refused_by_permission_says_by_whom(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def refused(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(grpc_client, "_answer", refused)
    monkeypatch.setattr(grpc_client, "who_refuses", lambda path: f"{path.name} by SELinux")
    with pytest.raises(NoAnswer, match=f"{os.strerror(number)}: kubelet.sock by SELinux"):
        await call(Path("/k/kubelet.sock"), "/a.B/C", b"", 1)


@pytest.mark.anyio
async def test_a_socket_that_cannot_be_bound_for_permission_says_by_whom(
    monkeypatch: pytest.MonkeyPatch, kubelet_dir: Path
) -> None:
    service = DevicePluginService.__new__(DevicePluginService)
    endpoint = Endpoint(
        directory=kubelet_dir / "device-plugins", service=service, watch_streams=WatchStreams()
    )

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("teeplugin.kubelet.endpoint.remove_stale_sockets", refused)
    monkeypatch.setattr("teeplugin.kubelet.endpoint.who_refuses", lambda _: "SELinux refuses it")
    with pytest.raises(PermissionError, match="Permission denied: SELinux refuses it"):
        await endpoint.open()
