"""Checks of the running plugin, and of what the kubelet reports."""

from teeplugin.commands.doctor.evidence import (
    Evidence,
    LimitsTold,
    PageState,
    SocketsSeen,
    Trouble,
    seen,
)
from teeplugin.commands.doctor.model import Outcome, failed, not_applicable, ok, warning
from teeplugin.config.settings import SETTINGS
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.policy.decide import FAULT_SECONDS
from teeplugin.policy.units import counted, format_size

_LIVE = (SocketState.LISTENS, SocketState.FULL)
_KUBELET_DOWN = (SocketState.MISSING, SocketState.REFUSES, SocketState.FULL)
_LABEL = "teetype=trustzone"
_OWN_VIEW = (
    f"wait {FAULT_SECONDS:g} s for the plugin's next query; if the fault stays, the service or "
    "pod of the plugin may not see a device or a file that doctor sees: restart it:\n"
    "systemctl restart tee-device-plugin"
)
_SERVICE = "check the service:\nsystemctl status tee-limit.path tee-limit.timer"
_NOTHING_YET = "the TEE has not answered the plugin yet: see query"


def plugin(evidence: Evidence) -> Outcome:
    """One plugin listens in the kubelet's directory, and the original doesn't."""
    sockets = seen(evidence.sockets, "the sockets")
    live = [path.name for path in sockets.live]
    if sockets.original_state in _LIVE:
        text = f"the original plugin listens at {sockets.original}"
        fix = "remove its DaemonSet or stop its process: only one of two plugins stays registered"
        return (warning if live else failed)(text, fix)
    if not live and evidence.page is not None and evidence.page.status is not None:
        text = f"a plugin runs but doesn't listen: {evidence.page.status.not_registered_reason}"
        return failed(text, "start with the failures above, and see the plugin's log")
    if not live:
        text = "no plugin listens: there is no live tee-ram-*.sock in the kubelet's directory"
        fix = (
            "start it, or its DaemonSet, and see its log; it listens once the TEE has answered:\n"
            "systemctl start tee-device-plugin"
        )
        return failed(text, fix)
    if sockets.silent:
        return _silent(sockets)
    if len(live) > 1:
        text = f"{len(live)} plugins listen: {', '.join(live)}"
        fix = "none during a rollout, or if each has its own --resource-name; otherwise stop one"
        return warning(text, fix)
    return ok(_one(sockets, live[0]))


def _one(sockets: SocketsSeen, name: str) -> str:
    process = f"process {sockets.pids[0]}" if sockets.pids else "a process not seen from here"
    return f"{process} listens at {name}"


def _silent(sockets: SocketsSeen) -> Outcome:
    """Tell of a plugin that takes connections and answers no call: its process hangs."""
    path, silence = next(iter(sockets.silent.items()))
    is_known = len(sockets.pids) == 1 and len(sockets.live) == 1
    who = f"process {sockets.pids[0]}, the plugin, hangs" if is_known else "a plugin hangs"
    text = (
        f"{who}: it listens at {path.name} and {silence}; while the kubelet waits for it, no pod "
        "of the node is admitted"
    )
    fix = "stop it: systemd or the kubelet starts it again; its log may show the cause"
    return failed(text, f"{fix}:\nkill -9 {sockets.pids[0]}" if is_known else fix)


def registration(evidence: Evidence) -> Outcome:
    """The kubelet watches the plugin's list."""
    status, resource = evidence.status, evidence.settings.resource_name
    if status is None:
        return _registered_by_the_kubelet(evidence, resource)
    if not status.capacity and status.settings_misfit is None:
        return not_applicable(_NOTHING_YET)
    if status.registered and evidence.in_dra_mode:
        return ok("the kubelet has the DRA driver registered")
    if status.registered:
        return ok(f"the kubelet watches the list of {resource}")
    text = f"{resource} isn't registered: {status.not_registered_reason}"
    return failed(text, "do what the reason says, or see not_registered in the log")


def _registered_by_the_kubelet(evidence: Evidence, resource: str) -> Outcome:
    """What the kubelet's own list says, where the plugin tells nothing."""
    records = seen(evidence.records, "the kubelet's allocation records")
    if records.listed:
        return ok(f"the kubelet has {records.listed} healthy units of {resource}")
    if not seen(evidence.sockets, "the sockets").live:
        return not_applicable("no plugin runs: see plugin")
    if records.listed == 0:
        text = f"a plugin listens, and the kubelet has no healthy unit of {resource}"
        return failed(text, "see not_registered and tee_unhealthy in the plugin's log")
    return not_applicable("neither the plugin nor the kubelet reports it: see telemetry")


def published_slice(evidence: Evidence) -> Outcome:
    """The node's ResourceSlice is in the API server, as the running plugin tells."""
    status = evidence.status
    if status is None:
        return not_applicable("no plugin of this resource answers: see telemetry")
    told = status.published
    if told is None:
        text = "the running plugin serves devices, not claims"
        return failed(text, "restart it: serve: dra applies after a restart")
    for problem in (told.problem, told.api_error):
        if problem is not None:
            fix = "do what the message says; see node_not_served and api_server_failed in the log"
            return failed(problem, fix)
    if told.published_bytes is None:
        return not_applicable(_NOTHING_YET)
    text = f"{told.name} has {format_size(told.published_bytes)}"
    if told.taints:
        return warning(f"{text}, and is tainted: {', '.join(told.taints)}", "see query and reserve")
    return ok(text)


def listed_units(evidence: Evidence) -> Outcome:
    """The units that the plugin lists are healthy."""
    status = evidence.status
    if status is None:
        return not_applicable("no plugin of this resource answers: see telemetry")
    if not status.capacity and status.settings_misfit is not None:
        fix = "do what the message says at its end, in the plugin's settings"
        return failed(f"the settings do not fit the TEE: {status.settings_misfit}", fix)
    if not status.capacity:
        return not_applicable(_NOTHING_YET)
    healthy = f"{status.allocatable} of {status.capacity} units are healthy"
    if status.trouble is not None:
        return _trouble(evidence, status.trouble, healthy)
    if status.allocatable < status.capacity:
        text = f"{healthy}; the cause is {status.unhealthy_cause}"
        return warning(text, "stop other users of secure memory, or see reserve above")
    allocated = "" if status.allocated is None else f", {status.allocated} are allocated by pods"
    return ok(f"{healthy}{allocated}")


def _trouble(evidence: Evidence, trouble: Trouble, healthy: str) -> Outcome:
    text = f"{healthy}; {trouble.kind}: {trouble.error}"
    if not trouble.confirmed:
        return warning(text, trouble.fix)
    if evidence.reading is None:
        return failed(text, trouble.fix)
    # As under systemd, where DeviceAllow= may have been resolved before the driver was loaded.
    return failed(f"{text}; but the TEE answered doctor just now", _OWN_VIEW)


def pod_resources(evidence: Evidence) -> Outcome:
    """The kubelet tells which pods hold units; without that there is the lesser mode."""
    records = seen(evidence.records, "the kubelet's allocation records")
    path, resource = evidence.settings.pod_resources_socket, evidence.settings.resource_name
    if records.error:
        lesser = "no shortage is shown, and a shrinking capacity may remove allocated units"
        if seen(evidence.sockets, "the sockets").kubelet in _KUBELET_DOWN:
            text = f"the kubelet is down, so {path} doesn't answer ({records.error}): {lesser}"
            return warning(text, "start the kubelet: see kubelet-socket")
        if records.is_silent:
            text = f"the kubelet hangs or is overloaded: {path} {records.error}: {lesser}"
            return failed(
                text, "find the cause, and restart it if it hangs:\nsystemctl status kubelet"
            )
        return warning(f"{path} {records.error}: {lesser}", records.fix)
    holders = _counted(len(records.allocated))
    count = records.allocated_units or 0
    verb = "is" if count == 1 else "are"
    text = f"{counted(count, 'unit')} of {resource} {verb} allocated to {holders}"
    if records.listed is not None:
        text = f"{text}; the kubelet has {records.listed} healthy ones"
    return ok(text)


def limits(evidence: Evidence) -> Outcome:
    """With `cdi: on` each container that holds units is limited to them in the TEE."""
    if evidence.settings.cdi == "off":
        return not_applicable("cdi: off: the TEE limits no containers, units are accounting only")
    told = evidence.status.limits if evidence.status else None
    if told is None:
        return not_applicable("the plugin reports no limits: see telemetry and cdi")
    return _limited(told)


def _limited(told: LimitsTold) -> Outcome:
    text = f"{told.limited} containers are limited, {told.groups} of {told.groups_max} groups used"
    if told.unset:
        fix = "find out why the host service did not set them again:\njournalctl -u tee-limit"
        return failed(f"{text}; a restart of the TEE removed the limits of {told.unset}", fix)
    if told.unrecorded:
        fix = "use a container runtime with CDI, or find out why they have not started"
        return failed(f"{text}; {told.unrecorded} hold units and have no TEE access", fix)
    if told.reconcile_problem:
        return warning(f"{text}; the host service: {told.reconcile_problem}", _SERVICE)
    if told.last_reconcile is None:
        return warning(f"{text}; the host service has never run", _SERVICE)
    return ok(text)


def _counted(containers: int) -> str:
    return {0: "no container", 1: "one container"}.get(containers, f"{containers} containers")


def telemetry(evidence: Evidence) -> Outcome:
    """The plugin answers at its address; or nobody does, while none runs."""
    page, listen = seen(evidence.page, "the telemetry's address"), evidence.settings.listen
    flag = SETTINGS["listen"].flags[0]
    match page.state:
        case PageState.OFF:
            return not_applicable(f"{flag} off: there are no metrics and probes")
        case PageState.OURS:
            return ok(f"a plugin answers at {listen}")
        case PageState.SOMEBODY_ELSE:
            text = f"the server at {listen} is not a tee-device-plugin"
            return failed(text, f"give another {flag}, or stop the process that listens there")
        case PageState.NO_SUCH_ADDRESS:
            text = f"{listen} is not an address of this machine" + f" ({page.error})" * bool(
                page.error
            )
            return failed(text, f"give a {flag} of this machine; :PORT means all addresses")
        case PageState.SILENT:
            text = f"{listen}: {page.error}"
            hangs = seen(evidence.sockets, "the sockets").silent
            fix = f"give another {flag}, or restart the process that listens there"
            return failed(text, "see plugin: its process hangs" if hangs else fix)
        case PageState.NOBODY:
            runs = bool(seen(evidence.sockets, "the sockets").live)
            return _nobody(listen, flag, runs=runs)


def _nobody(listen: str, flag: str, *, runs: bool) -> Outcome:
    if not runs:
        return ok(f"{listen} is free")
    fix = f"give doctor the plugin's {flag}; if the plugin runs in a pod, run doctor there"
    return warning(f"a plugin runs, but no server answers at {listen}", fix)


def node_label(evidence: Evidence) -> Outcome:
    """Which labels the node has only the API server tells, for which doctor has no token.

    A foreign backend's DaemonSet selects nodes by a label of its own: with ours such a node would
    get the plugin of iTrustee.
    """
    is_ours = evidence.backend_is_ours
    label = _LABEL if is_ours else "LABEL=VALUE"
    which = "the label" if is_ours else "the label of the DaemonSet's nodeSelector"
    fix = (
        f"list the nodes that have {which}, or label one:\n"
        f"kubectl get nodes -l {label}\n"
        f"kubectl label nodes NODE {label}"
    )
    return not_applicable("doctor can't see the node's labels", fix)
