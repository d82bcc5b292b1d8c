"""A directory that is deleted under a container's mount of it; needs root, but no cluster."""

import os
import shutil
from pathlib import Path

import pytest

from tests.plugin_process import Plugin

pytestmark = pytest.mark.anyio

# Like a container: the directory is a mount point of its own in a mount namespace of its own.
_AS_IN_A_CONTAINER = """
mount --bind "$1" "$2" || exit 99
shift 2
exec "$@"
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
async def test_a_dead_mount_of_the_directory_ends_the_plugin_with_the_fix(
    kubelet_dir: Path, tmp_path: Path
) -> None:
    on_the_node = kubelet_dir / "on-the-node"
    on_the_node.mkdir()
    in_the_container = kubelet_dir / "device-plugins"
    mounting = ["unshare", "--mount", "sh", "-c", _AS_IN_A_CONTAINER, "sh"]
    plugin = Plugin(
        tmp_path,
        kubelet_dir=kubelet_dir,
        host_root=Path("/"),
        enter=[*mounting, str(on_the_node), str(in_the_container)],
        access="none",
    )
    with plugin:
        await plugin.logged("not_registered")
        assert list(on_the_node.glob("tee-ram-*.sock"))
        shutil.rmtree(on_the_node)
        on_the_node.mkdir()
        assert plugin.wait() == 1
    entry = plugin.events("directory_lost")[0]
    assert "restart the plugin's pod" in entry["error"]
