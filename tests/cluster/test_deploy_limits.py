"""Limits deployed as users do: what the init container puts onto the node, replaces, takes away."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from teeplugin.policy.cdi_spec import FILE, HOOK_PATH
from tests.chart.programs import RELEASE
from tests.cluster.deploying import (
    DAEMON_SET,
    IMAGE,
    ITRUSTEE_UNITS,
    NAMESPACE,
    Shell,
    deployed,
    in_plugin,
    plugin_log,
    shell,
    wait_for_plugin,
    wait_until_settled,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import phase
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.test_chart import AS_THE_MANIFEST, INSTALL, KEEP, reader
from tests.cluster.test_deploy_updates import ROLLOUT, WAIT
from tests.cluster.test_life import assert_undisturbed, run_holder
from tests.cluster.test_limits import namespace
from tests.cluster.waiting import wait_until
from tests.tee.limits import MockTee

__all__ = ["reader", "shell"]  # the fixtures

TOOL = Path("/usr/bin/tee_teleport")
RECORDS = "/run/tee-limit/containers"
SYSTEM = "/etc/systemd/system"
UNITS = ("tee-limit.service", "tee-limit.path", "tee-limit.timer")
LIMITED = f"{INSTALL},flavour=itrustee,limits.enabled=true,{AS_THE_MANIFEST}"
NEXT = IMAGE.rpartition(":")[0] + ":2"
NEXT_FILE = f"""\
FROM {IMAGE}
COPY tee-limit /usr/share/tee-device-plugin/limits/tee-limit
"""
OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../itrustee
components:
  - ../../components/limits
images:
  - name: tee-device-plugin
    newName: {name}
    newTag: "{tag}"
"""
# What a runtime does at any time: calls the hook, and reads the specification.
USED_ALL_THE_TIME = f"""\
while :; do
  {HOOK_PATH} >/dev/null 2>&1
  status=$?
  [ "$status" = 2 ] || echo "hook: $status"
  tail -c 2 {FILE} | grep -q '}}' || echo "specification: cut off"
done
"""


@pytest.fixture
def tee(lab: Lab) -> Iterator[MockTee]:
    """The node's tool and its TEE; afterwards the node has nothing of the limits' any more."""
    made = MockTee(lab.settings.run / "teleport")
    made.empty()
    built = lab.settings.run / TOOL.name
    made.build(built, TOOL)
    on_node(lab, "install", "-m", "755", str(built), str(TOOL))
    yield made
    lab.delete_all_pods()
    paths = (HOOK_PATH, FILE, *(f"{SYSTEM}/{unit}" for unit in UNITS))
    on_node(lab, "rm", "-rf", str(TOOL), "/run/tee-limit", *paths)


@pytest.fixture(scope="module")
def next_image(shell: Shell) -> str:
    """Make an image with another hook, which does the same."""
    folder = shell.folder / "build" / "next"
    folder.mkdir(parents=True)
    folders = "OUT=../build/next OBJ=../build/next-objects"
    shell.typed(f"make -C ca {folders} CFLAGS=-DTEE_LIMIT_HOOK_MS=12999 hook")
    (folder / "Dockerfile").write_text(NEXT_FILE)
    shell.typed(f"docker build -t {NEXT} build/next")
    shell.typed(f"docker push {NEXT}")
    shell.wait_for_image(NEXT)
    return NEXT


def on_node(lab: Lab, *command: str, check: bool = True) -> str:
    """Run a command on the lab's node; what it printed."""
    ran = subprocess.run(
        lab.enter(*command), capture_output=True, text=True, timeout=30, check=check
    )
    return ran.stdout


def installed(lab: Lab) -> set[str]:
    """What there is of the limits' files on the node."""
    places = (str(Path(HOOK_PATH).parent), "/etc/cdi", SYSTEM)
    names = ("-name", "tee-limit*", "-o", "-name", "tee-device-plugin*")
    return set(on_node(lab, "find", *places, *names, check=False).split())


def digest(lab: Lab, path: str) -> str:
    return on_node(lab, "sha256sum", path).split()[0]


def records(lab: Lab) -> list[str]:
    return on_node(lab, "ls", RECORDS, check=False).split()


def limited(lab: Lab, tee: MockTee, **pods: int) -> None:
    """Each of these pods has a group of its own, with its units' limit; there is no other."""
    expected = sorted(f"{namespace(lab, pod)} {units * 512}K" for pod, units in pods.items())
    wait_until(
        f"the groups of {', '.join(pods)}",
        lambda: sorted(tee.groups.values()),
        30,
        accept=lambda seen: seen == expected,
    )
    assert len(records(lab)) == len(pods)


def all_is_installed(lab: Lab, shell: Shell) -> None:
    units = {f"{SYSTEM}/{unit}" for unit in UNITS}
    assert installed(lab) == {HOOK_PATH, FILE, *units}
    assert on_node(lab, "stat", "-c", "%a %u %g", HOOK_PATH).split() == ["755", "0", "0"]
    for unit in UNITS:
        ours = (shell.folder / "deploy" / "systemd" / unit).read_bytes()
        assert digest(lab, f"{SYSTEM}/{unit}") == hashlib.sha256(ours).hexdigest()
    specification = json.loads(on_node(lab, "cat", FILE))
    assert len(specification["devices"]) == ITRUSTEE_UNITS
    assert specification["containerEdits"]["hooks"][0]["path"] == HOOK_PATH


@contextmanager
def used_all_the_time(lab: Lab, log: Path) -> Iterator[None]:
    """Call the hook and read the specification again and again; neither is ever away."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            lab.enter("sh", "-c", USED_ALL_THE_TIME), stdin=subprocess.DEVNULL, stdout=out
        )
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert log.read_text() == ""


def test_the_chart_installs_replaces_and_removes_the_limits(
    lab: Lab, reader: Shell, tee: MockTee, next_image: str, tmp_path: Path
) -> None:
    reader.typed(f"{LIMITED} --wait")
    all_is_installed(lab, reader)
    wait_for_allocatable(lab, ITRUSTEE_UNITS)
    holder = run_holder(lab)
    limited(lab, tee, holder=10)
    # The plugin looks at the hook's records from time to time.
    wait_until(
        "status counts the group",
        lambda: in_plugin(lab, "/vendor/bin/tee-device-plugin", "status"),
        30,
        accept=lambda told: "1 of 63 groups used" in told,
    )

    _upgrade(lab, reader, tee, next_image, tmp_path)
    assert_undisturbed(lab, holder)
    _remove_while_a_pod_runs(lab, reader, tee)


def _upgrade(lab: Lab, reader: Shell, tee: MockTee, image: str, directory: Path) -> None:
    """The hook is another one afterwards; no group was lost, and pods get theirs meanwhile."""
    lab.run_pod(lab.pod("second", 3))
    older, groups = digest(lab, HOOK_PATH), tee.groups
    calls = len(tee.calls)
    wait_until_settled(lab)
    with used_all_the_time(lab, directory / "used.log"):
        reader.typed(f"helm upgrade {RELEASE} deploy/chart {KEEP} --set image.tag={image[-1]}")
        reader.typed(WAIT)
    newer = hashlib.sha256((reader.folder / "build" / "next" / "tee-limit").read_bytes())
    assert digest(lab, HOOK_PATH) == newer.hexdigest() != older
    assert tee.groups == groups
    assert len(tee.calls) == calls
    # The one that was started with the older hook is ended by the newer.
    lab.delete_pod("second")
    lab.run_pod(lab.pod("third", 2))
    limited(lab, tee, holder=10, third=2)


def _remove_while_a_pod_runs(lab: Lab, reader: Shell, tee: MockTee) -> None:
    remove = "limits.enabled=false,limits.remove=true"
    wait_until_settled(lab)
    reader.typed(f"helm upgrade {RELEASE} deploy/chart {KEEP} --set {remove}")
    reader.typed(WAIT)
    # For the end of those that run.
    assert installed(lab) == {HOOK_PATH}
    told = plugin_log(lab, None, "--container=limits")
    print(told)
    assert f"{HOOK_PATH} is left" in told
    limited(lab, tee, holder=10, third=2)
    wait_for_allocatable(lab, ITRUSTEE_UNITS)
    lab.run_pod(lab.pod("unlimited", 1))
    limited(lab, tee, holder=10, third=2)
    for pod in ("third", "holder"):
        assert phase(lab.get("pod", pod)) == "Running"
        lab.delete_pod(pod)
    wait_until("no group and no record", lambda: (tee.groups, records(lab)), 20, accept=_none)
    wait_until_settled(lab)
    reader.typed(ROLLOUT.format("restart"))
    reader.typed(WAIT)
    assert installed(lab) == set()
    # The plugin's pod mounts the directory no more.
    assert on_node(lab, "ls", "/run/tee-limit", check=False) == ""
    reader.typed(f"helm uninstall {RELEASE} -n {NAMESPACE} --wait")


def _none(seen: tuple[object, ...]) -> bool:
    return not any(seen)


def test_an_uninstall_alone_leaves_the_limits_to_pods_that_run(
    lab: Lab, reader: Shell, tee: MockTee
) -> None:
    reader.typed(f"{LIMITED} --wait")
    wait_for_allocatable(lab, ITRUSTEE_UNITS)
    holder = run_holder(lab)
    reader.typed(f"helm uninstall {RELEASE} -n {NAMESPACE} --wait")
    limited(lab, tee, holder=10)
    assert_undisturbed(lab, holder)
    all_is_installed(lab, reader)
    lab.delete_pod("holder")
    wait_until("no group and no record", lambda: (tee.groups, records(lab)), 20, accept=_none)


def test_the_component_does_the_same(lab: Lab, shell: Shell, tee: MockTee) -> None:
    folder = shell.folder / "deploy" / "overlays" / "limited"
    folder.mkdir(exist_ok=True)
    name, _, tag = IMAGE.rpartition(":")
    (folder / "kustomization.yaml").write_text(OVERLAY.format(name=name, tag=tag))
    wait_for_allocatable(lab, 0)
    with deployed(shell, "kubectl apply -k deploy/overlays/limited"):
        all_is_installed(lab, shell)
        wait_for_allocatable(lab, ITRUSTEE_UNITS)
        lab.run_pod(lab.pod("ca", 10))
        limited(lab, tee, ca=10)
        assert wait_for_plugin(lab)["spec"]["initContainers"][0]["name"] == "limits"
        lab.kubectl("rollout", "restart", f"daemonset/{DAEMON_SET}", f"--namespace={NAMESPACE}")
        shell.typed(WAIT)
        limited(lab, tee, ca=10)
