"""A node for the guide's commands: `python node.py DIR` plays its kubelet, with a plugin and pods.

A program of its own, because the commands are run by tests that have no loop. It prints the address
of the plugin's telemetry once all is there, and goes on until it is ended.
"""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.text import TextReceiveStream

from teeplugin.simulator import SimulatedKubelet

UNITS = 2048
PODS = {"vault": 10, "sealer": 3}


def command(kubelet_dir: Path) -> list[str]:
    """The plugin, on a TEE of 1 GiB."""
    return [
        *(sys.executable, "-m", "teeplugin", "--backend", "simulated"),
        *("--backend-option", "total=1GiB", "--kubelet-dir", str(kubelet_dir)),
        *("--listen", "127.0.0.1:0", "--log-format", "json"),
    ]


async def address(log: anyio.abc.ByteReceiveStream) -> str:
    """Read the plugin's log up to the line that tells where it serves its telemetry."""
    rest = ""
    async for part in TextReceiveStream(log):
        *lines, rest = (rest + part).split("\n")
        for entry in map(json.loads, filter(lambda line: line.startswith("{"), lines)):
            if entry["event"] == "telemetry_listening":
                return str(entry["address"])
    raise RuntimeError("the plugin ended before it served its telemetry")


async def main(kubelet_dir: Path) -> None:
    """Serve, say where, and go on; the plugin ends with this program."""
    async with (
        SimulatedKubelet(kubelet_dir) as kubelet,
        await anyio.open_process(
            command(kubelet_dir), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as plugin,
    ):
        assert plugin.stderr is not None
        found = await address(plugin.stderr)
        await kubelet.wait_for(lambda: kubelet.allocatable() == UNITS, 10, "the whole list")
        for pod, units in PODS.items():
            await kubelet.admit(pod, units)
        print(found, flush=True)
        async for _ in plugin.stderr:
            pass  # read, so that the plugin's log goes on


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
