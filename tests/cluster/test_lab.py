"""The lab itself: it is a cluster, it survives what tests do to it, and it leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import pods
from tests.cluster.cgroups import ControlGroup
from tests.cluster.lab import Lab
from tests.cluster.processes import Process
from tests.cluster.settings import HERE, NODE_NAME, Settings
from tests.cluster.waiting import NotReachedError, wait_until


@pytest.fixture
def other(lab: Lab) -> Iterator[Lab]:
    """Another lab beside the session's, to be ill-treated; it does not run yet."""
    state = lab.settings.state
    other = Lab(Settings(state.with_name(f"{state.name}-other")))
    other.down()
    yield other
    other.down()
    shutil.rmtree(other.settings.state, ignore_errors=True)


def _inside(lab: Lab, *command: str) -> str:
    result = subprocess.run(lab.enter(*command), capture_output=True, text=True, check=True)
    return result.stdout


# --- a cluster


def test_the_node_is_ready_and_offers_none_of_our_resource(lab: Lab) -> None:
    assert pods.condition(lab.node(), "Ready") == "True"
    # Of a plugin that has just left, the node object tells for a moment more; of its capacity for
    # minutes.
    wait_until("nothing is allocatable", lab.allocatable, 30, accept=lambda units: units == 0)
    assert lab.capacity("pods") > 0


def test_a_scheduled_pod_runs_and_takes_commands(lab: Lab) -> None:
    lab.run_pod(lab.pod("plain", 0, command=["sh", "-c", "echo hello; exec sleep 100000"]))
    assert lab.exec("plain", "sh", "-c", "echo $((6 * 7))") == "42\n"
    assert lab.logs("plain") == "hello\n"
    assert "10.88." in lab.exec("plain", "ip", "address")
    assert pods.count(lab.pods()) == {"Running": 1}
    lab.delete_pod("plain")
    assert lab.get("pod", "plain") is None


def test_what_the_kubelet_mounts_reaches_the_container(lab: Lab) -> None:
    manifest = lab.pod("volume", 0)
    manifest["spec"]["volumes"] = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    manifest["spec"]["containers"][0]["volumeMounts"] = [{"name": "memory", "mountPath": "/var"}]
    lab.run_pod(manifest)
    assert " /var tmpfs " in lab.exec("volume", "cat", "/proc/mounts")
    lab.delete_pod("volume")


def test_a_pod_that_ends_by_itself_is_started_again_and_counted(lab: Lab) -> None:
    lab.apply(lab.pod("ends", 0, command=["true"], restart_policy="Always"))
    wait_until("the container is started again", lambda: lab.restarts("ends"), 30)
    lab.delete_pod("ends")


def test_a_pod_the_kubelet_refuses_is_told_by_its_reason(lab: Lab) -> None:
    manifest = lab.pod("refused", 0, node_name=NODE_NAME)
    manifest["spec"]["nodeSelector"] = {"example.com/label": "missing"}
    lab.apply(manifest)
    refused = lab.wait_pod("refused", "Failed/NodeAffinity")
    assert pods.restarts(refused) == 0
    lab.delete_pod("refused")


def test_a_pod_that_asks_for_what_no_node_has_waits(lab: Lab) -> None:
    lab.apply(lab.pod("waits", 1, resource="example.com/none"))
    waiting = wait_until(
        "the scheduler looks at the pod",
        lambda: lab.get("pod", "waits"),
        30,
        accept=lambda found: pods.condition(found, "PodScheduled") == "False",
    )
    assert pods.phase(waiting) == "Pending"
    lab.delete_pod("waits")


def test_a_killed_kubelet_comes_back_and_its_pod_runs_on(lab: Lab) -> None:
    before = lab.run_pod(lab.pod("stays", 0))
    killed = lab.kubelet_pid
    lab.kubelet_kill()
    assert lab.status()["kubelet"] == "not running"
    lab.kubelet_start()
    assert lab.kubelet_pid not in (None, killed)
    after = lab.wait_pod("stays", "Running")
    assert pods.restarts(after) == 0
    assert _container_ids(after) == _container_ids(before)
    assert lab.exec("stays", "true") == ""
    lab.delete_pod("stays")


def _container_ids(pod: dict[str, object]) -> list[str]:
    status = pod["status"]
    assert isinstance(status, dict)
    return [container["containerID"] for container in status["containerStatuses"]]


def test_up_on_a_running_lab_changes_nothing(lab: Lab) -> None:
    before = lab.status()
    lab.up()
    assert lab.status() == before


def test_up_starts_again_what_ended(lab: Lab) -> None:
    before = lab.status()
    process = lab._machine.process("kube-scheduler")
    assert process is not None
    process.send(signal.SIGKILL)
    wait_until("the scheduler is gone", lambda: not process.alive(), 10)
    lab.up()
    changed = {name for name, value in lab.status().items() if value != before[name]}
    assert changed == {"kube-scheduler"}


# --- inside and outside


def test_the_devices_of_the_lab_are_inside_only(lab: Lab) -> None:
    for path in ("/dev/teelog", "/dev/tc_ns_cvm", "/var/itrustee/teecd/marker"):
        _inside(lab, "test", "-e", path)
    assert _inside(lab, "stat", "-c", "%t:%T", "/dev/teelog", "/dev/tc_ns_cvm") == "1:3\n1:5\n"
    assert not Path("/dev/teelog").exists()
    assert not Path("/dev/tc_ns_cvm").exists()


def test_pods_get_the_devices_and_directories_of_the_lab(lab: Lab) -> None:
    manifest = lab.pod("host-paths", 0)
    container = manifest["spec"]["containers"][0]
    manifest["spec"]["volumes"], container["volumeMounts"] = [], []
    for name, path, kind in (
        ("teelog", "/dev/teelog", "CharDevice"),
        ("teecd", "/var/itrustee/teecd", "Directory"),
    ):
        volume = {"name": name, "hostPath": {"path": path, "type": kind}}
        manifest["spec"]["volumes"].append(volume)
        container["volumeMounts"].append({"name": name, "mountPath": path})
    lab.run_pod(manifest)
    assert lab.exec("host-paths", "stat", "-c", "%t:%T", "/dev/teelog") == "1:3\n"
    assert "marker" in lab.exec("host-paths", "ls", "/var/itrustee/teecd").split()
    lab.delete_pod("host-paths")


def test_the_kubelets_socket_answers_inside_and_outside(lab: Lab) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(lab.device_plugins_dir / "kubelet.sock"))
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    _inside(lab, sys.executable, "-c", connect, "/var/lib/kubelet/device-plugins/kubelet.sock")


def test_a_socket_bound_inside_is_reached_from_outside(lab: Lab) -> None:
    listen = (
        "import socket; s = socket.socket(socket.AF_UNIX); "
        "s.bind('/var/lib/kubelet/device-plugins/test.sock'); s.listen(); "
        "print('ready', flush=True); s.accept()[0].sendall(b'hello')"
    )
    command = lab.enter(sys.executable, "-c", listen)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(lab.device_plugins_dir / "test.sock"))
            assert client.recv(5) == b"hello"
    (lab.device_plugins_dir / "test.sock").unlink()


def test_an_entered_command_is_the_process_itself_in_the_same_directory(lab: Lab) -> None:
    command = lab.enter("sh", "-c", "echo $$; pwd")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"{process.pid}\n{Path.cwd()}\n"


# --- crashes and the end


def test_a_lab_whose_processes_all_died_comes_up_again(other: Lab) -> None:
    other.up()
    other.run_pod(other.pod("lost", 0))
    other._machine.group.kill()
    assert set(other.status().values()) == {"not running"}
    other.up()
    assert other.get("pod", "lost") is None
    other.run_pod(other.pod("found", 0))


def test_a_lab_whose_maker_was_killed_halfway_comes_up(other: Lab) -> None:
    maker = "from tests.cluster.__main__ import main; main(['up'])"
    project = {"PYTHONPATH": str(HERE.parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", maker],
        env=os.environ | project | {"TEEPLUGIN_LAB": str(other.settings.state)},
    ) as process:

        def starts() -> bool:
            assert process.poll() is None, "the maker ended by itself"
            return other.log("kube-apiserver").exists()

        wait_until("the API server starts", starts, 30)
        process.kill()
    other.up()
    other.run_pod(other.pod("after", 0))


def test_down_leaves_nothing_behind(other: Lab) -> None:
    other.up()
    other.run_pod(other.pod("left", 0))
    orphan = subprocess.run(
        ["setsid", "--fork", *other.enter("sh", "-c", "echo $$; exec sleep 100000 >&2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    processes = other._machine.group.processes()
    assert int(orphan.stdout) in [process.pid for process in processes]
    other.down()
    assert not any(process.alive() for process in processes)
    assert not ControlGroup(other.settings.cgroup_name).exists()
    assert str(other.settings.state) not in Path("/proc/self/mountinfo").read_text()
    assert [path.name for path in other.settings.state.iterdir() if path.is_dir()] == ["logs"]


def test_two_users_at_once_are_refused(lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="in use"):
        Lab(lab.settings).down()


def test_a_directory_that_is_not_a_labs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ValueError, match="not a lab's"):
        Lab(Settings(tmp_path)).down()
    assert (tmp_path / "precious").exists()


def test_a_recycled_pid_is_left_alone(tmp_path: Path) -> None:
    myself = Process.running(os.getpid())
    assert myself is not None
    earlier = Process(myself.pid, myself.start_ticks - 1)
    earlier.record(tmp_path / "record")
    assert Process.recorded(tmp_path / "record") is None
    earlier.send(signal.SIGKILL)  # and this line is reached


def test_a_wait_that_fails_tells_what_was_seen_last() -> None:
    with pytest.raises(NotReachedError, match=r"two comes: not within 0\.1 s; last seen: 1"):
        wait_until("two comes", lambda: 1, 0.1, accept=lambda seen: seen == 2)


@pytest.mark.parametrize("seconds", ["0", "11"])
def test_a_node_status_period_that_the_deadlines_do_not_allow_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("TEEPLUGIN_LAB_NODE_STATUS_SECONDS", seconds)
    with pytest.raises(ValueError, match=f"NODE_STATUS_SECONDS={seconds}"):
        Settings.from_environment()
