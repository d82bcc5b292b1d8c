"""Checks of the node: what containers need, and the kubelet's directory."""

import shlex
import stat
from pathlib import Path

from teeplugin.commands.doctor.evidence import Evidence, SocketsSeen, seen
from teeplugin.commands.doctor.model import Outcome, failed, not_applicable, ok, warning
from teeplugin.kubelet.registration_status import no_directory, no_socket
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.policy.cdi_spec import FILE
from teeplugin.policy.decide import missing_fix

_WHERE = (
    "device-plugins is always in /var/lib/kubelet, also with another --root-dir: leave "
    "--kubelet-dir out"
)


def containers(evidence: Evidence) -> Outcome:
    """Every mount and device node that containers are promised is on the node."""
    answer = evidence.answer
    if answer is None or answer.host_paths is None:
        return not_applicable("known only after an answer of the TEE: see query")
    root = evidence.settings.host_root
    if evidence.missing_paths:
        text = (
            f"{', '.join(evidence.missing_paths)}, which containers need, are missing below {root}"
        )
        fix = "in a container mount the node's paths below --host-root"
        return failed(text, f"{missing_fix(answer.missing_fix)}; {fix}")
    if not answer.host_paths:
        return ok("containers need no paths of the node")
    return ok(f"{', '.join(answer.host_paths)}: all there")


def cdi(evidence: Evidence) -> Outcome:
    """With `cdi: on` the node's CDI specification has all that pods could ask for."""
    if evidence.settings.cdi == "off":
        return not_applicable("cdi: off: the kubelet passes mounts and device nodes on itself")
    if evidence.reading is None:
        return not_applicable("known only after an answer of the TEE: see query")
    if (problem := evidence.specification) is not None:
        return failed(problem.problem, problem.fix)
    answer = evidence.answer
    limits = "limits containers" if answer and answer.limited_containers else "limits no containers"
    return ok(f"{FILE} fits the settings, and {limits}")


def kubelet_directory(evidence: Evidence) -> Outcome:
    """The directory is there, the node's own, and writable for the plugin but for no others."""
    directory = seen(evidence.directory, "the kubelet's directory")
    path = directory.path
    if directory.is_missing:
        fix = (
            f"start the kubelet, which creates it; in a container mount it from the node; {_WHERE}"
        )
        return failed(no_directory(path), fix)
    if directory.problem:
        return failed(f"{path}: {directory.problem}", directory.refused_by or _WHERE)
    if directory.is_dead_mount:
        text = f"{path} was deleted and created again, and this mount of it is dead"
        return failed(text, "restart the plugin's pod, which mounts the new one")
    if not directory.is_writable:
        fix = directory.refused_by or "in a container don't mount the directory read-only"
        return failed(f"{path} is not writable", fix)
    if directory.weakness:
        weakness = directory.weakness
        other = f"{weakness.instead}, or change it:" if weakness.instead else "change it:"
        return failed(weakness.problem, f"{other}\n{weakness.command}")
    return ok(f"{path}: {stat.filemode(directory.mode | stat.S_IFDIR)}, writable")


def kubelet_socket(evidence: Evidence) -> Outcome:
    """The kubelet listens for registrations; it is connected to, and told nothing."""
    directory = seen(evidence.directory, "the kubelet's directory")
    sockets = seen(evidence.sockets, "the sockets")
    if evidence.in_dra_mode:
        return not_applicable("not used by a DRA driver: the kubelet finds its socket")
    if directory.is_missing:
        return not_applicable("its directory is missing: see kubelet-directory")
    return _answers(directory.path / "kubelet.sock", sockets.kubelet, sockets.refused_by)


def _answers(path: Path, state: SocketState, refused_by: str) -> Outcome:
    start, why = "start the kubelet", "to see why it doesn't run:\nsystemctl status kubelet"
    match state:
        case SocketState.LISTENS:
            return ok(f"a process listens at {path}")
        case SocketState.MISSING:
            fix = f"{start}; {_WHERE}; {why}"
            return failed(no_socket(path), fix)
        case SocketState.REFUSES:
            return failed(
                f"no process listens at {path}, which an earlier kubelet left", f"{start}; {why}"
            )
        case SocketState.FULL:
            text = f"the process that listens at {path} doesn't accept connections"
            return failed(text, "restart the kubelet: it seems to hang")
        case SocketState.NO_SOCKET:
            remove = shlex.join(["rm", str(path)])
            return failed(
                f"{path} is not a socket", f"remove it, and restart the kubelet:\n{remove}"
            )
        case SocketState.FORBIDDEN:
            return failed(f"{path} can't be connected to", refused_by)


def stale_sockets(evidence: Evidence) -> Outcome:
    """No plugin that was killed has left its socket."""
    sockets = seen(evidence.sockets, "the sockets")
    stale = [str(path) for path in _stale(sockets)]
    if stale:
        remove = shlex.join(["rm", *stale])
        fix = f"none needed: a registered plugin removes them; to remove them now:\n{remove}"
        return warning(f"no process listens at {', '.join(stale)}", fix)
    return ok("none found")


def _stale(sockets: SocketsSeen) -> list[object]:
    found: list[object] = list(sockets.ours(SocketState.REFUSES))
    if sockets.original_state is SocketState.REFUSES:
        found.append(sockets.original)
    return found
