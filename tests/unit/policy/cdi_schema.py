"""The published JSON schema of CDI specifications, written down as Python types.

From https://github.com/cncf-tags/container-device-interface, schema/schema.json and defs.json:
names, types and patterns of what an object may have; `!` marks what it must have.
"""

import re
from collections.abc import Mapping
from typing import Any

_TEXT, _INTEGER = (str,), (int,)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_KIND = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_MOUNT = {"hostPath!": _TEXT, "containerPath!": _TEXT, "type": _TEXT, "options": [_TEXT]}
_NODE = {
    "path!": _TEXT,
    "hostPath": _TEXT,
    "type": _TEXT,
    "major": _INTEGER,
    "minor": _INTEGER,
    "fileMode": _INTEGER,
    "permissions": _TEXT,
    "uid": _INTEGER,
    "gid": _INTEGER,
}
_HOOK = {
    "hookName!": _TEXT,
    "path!": _TEXT,
    "args": [_TEXT],
    "env": [_TEXT],
    "timeout": _INTEGER,
}
_EDITS = {"env": [_TEXT], "mounts": [_MOUNT], "deviceNodes": [_NODE], "hooks": [_HOOK]}
_DEVICE = {"name!": _TEXT, "annotations": (dict,), "containerEdits!": _EDITS}
SCHEMA = {
    "cdiVersion!": _TEXT,
    "kind!": _TEXT,
    "annotations": (dict,),
    "containerEdits": _EDITS,
    "devices!": [_DEVICE],
}


def check(document: Any) -> None:
    """Fail at the first part that the schema, or what runtimes ask beside it, doesn't allow."""
    _check(document, SCHEMA, "")
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", document["cdiVersion"])
    assert _KIND.fullmatch(document["kind"])
    names = [device["name"] for device in document["devices"]]
    assert names
    assert len(names) == len(set(names))
    for device in document["devices"]:
        assert _NAME.fullmatch(device["name"])
        # Runtimes refuse a device that changes nothing.
        assert any(device["containerEdits"].values())
        _check_edits(device["containerEdits"])
    _check_edits(document.get("containerEdits", {}))


def _check_edits(edits: Mapping[str, Any]) -> None:
    for variable in edits.get("env", ()):
        assert re.match(r"[^=]+=", variable)
    for hook in edits.get("hooks", ()):
        assert hook["hookName"] in _HOOKS
        assert hook["path"].startswith("/")
    for node in edits.get("deviceNodes", ()):
        assert re.fullmatch("[rwm]+", node["permissions"])
    for edit in ("mounts", "deviceNodes", "hooks"):
        assert edits.get(edit) != []


def _check(value: Any, allowed: Any, where: str) -> None:
    if isinstance(allowed, list):
        assert isinstance(value, list), where
        for each in value:
            _check(each, allowed[0], f"{where}[]")
    elif isinstance(allowed, dict):
        assert isinstance(value, dict), where
        required = {name.removesuffix("!") for name in allowed if name.endswith("!")}
        types = {name.removesuffix("!"): kind for name, kind in allowed.items()}
        assert required <= set(value) <= set(types), where
        for name, each in value.items():
            _check(each, types[name], f"{where}.{name}")
    else:
        assert isinstance(value, allowed), where
        assert not isinstance(value, bool), where
