"""Writes and checks the static specification of the Container Device Interface (CDI); pure.

The command `cdi` prints it, the daemon compares the one on the node with its settings. Field names
and rules are those of https://github.com/cncf-tags/container-device-interface, SPEC.md.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from teeplugin.policy.cdi import KIND, MOST_AMOUNTS
from teeplugin.policy.units import KIB, comfortable_precision_kb, counted, format_size
from teeplugin.policy.variables import UNIT_BYTES_VARIABLE, unit_variables
from teeplugin_backends.base import ContainerAccess

VERSION: Final = "0.5.0"
"""The oldest that has all that is used here: names that begin with a digit, and `hostPath`."""

HOOK_PATH: Final = "/usr/libexec/tee-limit"
"""Where the hook is installed: outside of the directories on PATH, as nobody calls it by hand."""

HOOK_SECONDS: Final = 20
"""The runtime's time limit for one hook; the hook itself ends after 15 s, with words."""

FILE: Final = "/etc/cdi/tee-device-plugin.json"
"""The specification on the node: in the directory that container runtimes look into by default, and
that outlives a restart, which /var/run/cdi doesn't."""

_SET, _CLEAN = "set", "clean"
_MEMORY_ARGUMENT = re.compile(r"--memory=([1-9][0-9]{0,14})K")


class Hook(NamedTuple):
    """The hook that sets a container's limit in the TEE: an absolute path, and further flags."""

    path: str = HOOK_PATH
    flags: tuple[str, ...] = ()


def specification(
    access: ContainerAccess,
    amounts: int,
    unit_bytes: int,
    resource_name: str,
    hook: Hook | None = None,
) -> dict[str, Any]:
    """Write the specification of devices for 1 … `amounts` units of `unit_bytes` each.

    What every container gets stands once, beside the devices; a device adds the variables with its
    amount and, with a hook, the call that sets the limit, in whole KiB.

    Raises:
        ValueError: `amounts` is not in 1 … MOST_AMOUNTS, or a unit is no whole number of KiB.
    """
    if not 1 <= amounts <= MOST_AMOUNTS:
        raise ValueError(f"{amounts} amounts: must be 1 … {MOST_AMOUNTS}")
    if unit_bytes <= 0 or unit_bytes % KIB:
        raise ValueError(f"a unit of {unit_bytes} bytes: must be whole KiB")
    return {
        "cdiVersion": VERSION,
        "kind": KIND,
        "containerEdits": _common(access, hook),
        "devices": [
            {
                "name": str(amount),
                "containerEdits": _own(amount, unit_bytes, resource_name, hook),
            }
            for amount in range(1, amounts + 1)
        ],
    }


def _common(access: ContainerAccess, hook: Hook | None) -> dict[str, Any]:
    edits: dict[str, Any] = {}
    if access.environment:
        edits["env"] = _pairs(access.environment)
    if access.mounts:
        edits["mounts"] = [
            {
                "hostPath": mount.host_path,
                "containerPath": mount.container_path,
                "options": ["bind", "nosuid", "nodev", "ro" if mount.read_only else "rw"],
            }
            for mount in access.mounts
        ]
    if access.devices:
        edits["deviceNodes"] = [
            {
                "path": device.container_path,
                "hostPath": device.host_path,
                "permissions": device.permissions,
            }
            for device in access.devices
        ]
    if hook is not None:
        edits["hooks"] = [_call(hook, "poststop", _CLEAN)]
    return edits


def _own(amount: int, unit_bytes: int, resource_name: str, hook: Hook | None) -> dict[str, Any]:
    edits: dict[str, Any] = {"env": _pairs(unit_variables(resource_name, amount, unit_bytes))}
    if hook is not None:
        memory = f"--memory={amount * unit_bytes // KIB}K"
        edits["hooks"] = [_call(hook, "createRuntime", _SET, memory)]
    return edits


def _call(hook: Hook, when: str, *words: str) -> dict[str, Any]:
    return {
        "hookName": when,
        "path": hook.path,
        # By the OCI runtime specification the first is the program's name, as for execv.
        "args": [hook.path.rpartition("/")[2], *words, *hook.flags],
        # Without any, runc would pass on its own environment.
        "env": ["PATH=/usr/bin:/bin"],
        "timeout": HOOK_SECONDS,
    }


def _pairs(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


class Mismatch(NamedTuple):
    """Why a specification can't serve these settings, and what to do."""

    problem: str
    fix: str


def too_many_units(capacity_bytes: int, unit_bytes: int) -> Mismatch | None:
    """Tell if more units could be asked for than a specification has amounts, and a fix."""
    count = capacity_bytes // unit_bytes
    if count <= MOST_AMOUNTS:
        return None
    return Mismatch(
        f"-precision {unit_bytes // KIB} makes {count} units, and a CDI specification has at most "
        f"{MOST_AMOUNTS} amounts",
        f"give -precision {comfortable_precision_kb(capacity_bytes)} or more, or --cdi off",
    )


def mismatch(
    document: object, units: int, unit_bytes: int, *, limited: bool = False
) -> Mismatch | None:
    """Compare a specification, parsed from JSON or YAML, with what can be asked for.

    A container that asks for 1 … `units` units of `unit_bytes` must find its device there, with
    the figures of these units; where `limited`, with the hook too.
    """
    devices = _devices(document)
    if devices is None:
        return Mismatch(f"is not a CDI specification of the kind {KIND}", _WRITE)
    for amount in range(1, units + 1):
        if (edits := devices.get(str(amount))) is None:
            have = f"it has {len(devices)} amounts"
            return Mismatch(
                f"has no device for {counted(amount, 'unit')} of the {units} that pods can ask "
                f"for: {have}",
                _WRITE,
            )
        if (problem := _problem_of(edits, amount, unit_bytes, limited=limited)) is not None:
            return Mismatch(problem, _WRITE)
    return None


_WRITE: Final = "write it again: tee-device-plugin cdi"


def _devices(document: object) -> dict[str, Mapping[str, Any]] | None:
    """Give the containerEdits of each device by name; None for what isn't our kind."""
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        return None
    found: dict[str, Mapping[str, Any]] = {}
    devices = document.get("devices")
    for device in devices if isinstance(devices, Sequence) else ():
        edits = device.get("containerEdits") if isinstance(device, Mapping) else None
        if not isinstance(edits, Mapping):
            return None
        found[str(device.get("name"))] = edits
    return found


def _problem_of(
    edits: Mapping[str, Any], amount: int, unit_bytes: int, *, limited: bool
) -> str | None:
    env = edits.get("env")
    prefix = f"{UNIT_BYTES_VARIABLE}="
    told = [str(each) for each in env] if isinstance(env, Sequence) else []
    sizes = {each.removeprefix(prefix) for each in told if each.startswith(prefix)}
    if sizes != {str(unit_bytes)}:
        size = ", ".join(map(_size_in_words, sorted(sizes))) or "an unnamed size"
        return f"has units of {size}, the settings have {format_size(unit_bytes)}"
    set_kib = [
        int(match[1])
        for word in _words_of_hooks(edits)
        if (match := _MEMORY_ARGUMENT.fullmatch(word))
    ]
    if (limited or set_kib) and set_kib != [amount * unit_bytes // KIB]:
        limits = ", ".join(f"{each} KiB" for each in set_kib) or "none"
        return f"limits {amount} units to {limits}: must be {amount * unit_bytes // KIB} KiB"
    return None


def _size_in_words(text: str) -> str:
    is_number = text.isascii() and text.isdigit() and len(text) < len("1125899906842624") + 1
    return format_size(int(text)) if is_number else repr(text[:20])


def _words_of_hooks(edits: Mapping[str, Any]) -> list[str]:
    hooks = edits.get("hooks")
    words: list[str] = []
    for hook in hooks if isinstance(hooks, Sequence) else ():
        args = hook.get("args") if isinstance(hook, Mapping) else None
        words += map(str, args) if isinstance(args, Sequence) else ()
    return words
