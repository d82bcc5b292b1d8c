"""Explains a refused permission: who refuses it, and what to run."""

import errno
import os
from pathlib import Path

from teeplugin.kubelet.directory_safety import in_user_namespace

REFUSED = frozenset({errno.EACCES, errno.EPERM})

_LABEL = Path("/proc/self/attr/current")


def who_refuses(path: Path) -> str:
    """Say why EACCES or EPERM came for a path, and what to do; one line."""
    uid = os.geteuid()
    if uid != 0:
        return f"run the plugin as root: it runs as uid {uid}"
    if in_user_namespace():
        return (
            "the plugin is root only in a user namespace: run it without one (hostUsers: true, no "
            "PrivateUsers= and no rootless runtime)"
        )
    look = f"ls -ldZ {path}"
    if ":" in _label():
        return (
            f"SELinux denies it to {_label()}: run the container as container_device_plugin_t; "
            f"to check: ausearch -m avc -ts recent; {look}"
        )
    return (
        "the plugin is root without capabilities: correct the owner or the mode; AppArmor or "
        f"SELinux may also deny it: to check: {look}; dmesg | grep -i denied"
    )


def _label() -> str:
    """The process's label: SELinux's has colons, AppArmor's has none."""
    try:
        return _LABEL.read_text(encoding="utf-8", errors="replace").strip("\0\n")
    except OSError:
        return ""
