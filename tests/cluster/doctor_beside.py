"""`doctor` beside a plugin that runs on the lab's host, with the plugin's own flags."""

import json
import subprocess
import sys
from typing import Any

from tests.cluster.lab import Lab
from tests.plugin_process import Plugin


def by_name(told: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {check["check"]: check for check in told["checks"]}


def doctor_beside(lab: Lab, plugin: Plugin) -> tuple[int, dict[str, dict[str, str]]]:
    """Run it; its exit status, and its checks by name."""
    flags = plugin.command[plugin.command.index("teeplugin") + 1 :]
    command = lab.enter(sys.executable, "-m", "teeplugin", "doctor", *flags, "--format=json")
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.stderr == ""
    return shown.returncode, by_name(json.loads(shown.stdout))
