"""The plugin as a process, whose kubelet answers every call against the rules."""

from pathlib import Path

import pytest

from teeplugin.simulator import SimulatedKubelet
from tests.fake_grpc_peer import NO_ASCII, ODD_ANSWERS, fake_peer
from tests.plugin_process import Plugin
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

UNITS = 128
SILENT = {"a message without trailers", "no HTTP/2"}
"""These are given up at the deadline only: tests/unit has them, with a short one."""


async def test_no_answer_to_register_or_list_ends_the_plugin(
    kubelet_dir: Path, tmp_path: Path
) -> None:
    pod_resources = kubelet_dir / "pod-resources"
    pod_resources.mkdir()
    shapes = {name: shape for name, shape in ODD_ANSWERS.items() if name not in SILENT}
    plugin = Plugin(
        tmp_path, kubelet_dir=kubelet_dir, host_root=tmp_path, access="none", units=UNITS
    )
    with plugin:
        for name, shape in (shapes | {"metadata that is no ASCII": NO_ASCII}).items():
            async with (
                fake_peer(kubelet_dir / "device-plugins" / "kubelet.sock", shape) as registry,
                fake_peer(pod_resources / "kubelet.sock", shape) as lister,
            ):
                await eventually(
                    f"both asked: {name}",
                    lambda: (plugin.running, registry.calls, lister.calls),
                    until=all,
                )
        pid = plugin.pid
        async with SimulatedKubelet(kubelet_dir) as kubelet:
            await kubelet.wait_for(lambda: kubelet.allocatable() == UNITS, 20)
        assert (plugin.running, plugin.pid) == (True, pid)
