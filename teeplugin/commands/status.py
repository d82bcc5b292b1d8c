"""`tee-device-plugin status`: what the plugin that runs here tells of itself."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anyio

from teeplugin.cli.console import complain, put
from teeplugin.cli.parser import CommandParser
from teeplugin.commands.status_client import NoPluginError, get_status
from teeplugin.config.settings import SETTINGS, ConfigError
from teeplugin.policy.units import format_size
from teeplugin.primitives.document import document

EXIT_NOT_WELL = 1
"""Units can't be given to pods now; or nobody answered."""

_DESCRIPTION = """\
Show the running plugin of this node: its units, their holders, current problems, and the last
events. Of the daemon's flags, --listen, or the file that sets it, gives the plugin's address. The
exit status is 1 if pods can't get units now."""

_SHOWN_EVENTS = 8
_START = "start the plugin, or give the address in its log line telemetry_listening"


def parser() -> CommandParser:
    """Give the command's flags."""
    return CommandParser("status", _DESCRIPTION)


def main(argv: Sequence[str]) -> int:
    """Print the status and give the exit status.

    Raises:
        ConfigError: the flags or settings can't be used, or what answers is no plugin.
    """
    read = parser().read(argv)
    if read is None:
        return 0
    flags, listen = read[0], read[1].settings.listen
    try:
        status = _asked(listen)
    except OSError as error:
        what = f"no plugin answers ({error.strerror or error})"
        complain(f"{SETTINGS['listen'].flags[0]} {listen}: {what}: {_START}")
        if flags.format == "json":
            facts = {"running": False, "listen": listen, "error": what, "fix": _START}
            put(f"{json.dumps(document('status', facts), indent=2)}\n")
        return EXIT_NOT_WELL
    try:
        text = json.dumps(status, indent=2) if flags.format == "json" else "\n".join(lines(status))
        exit_status = 0 if _is_well(status) else EXIT_NOT_WELL
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise _no_plugin(listen) from None
    return put(f"{text}\n") or exit_status


def _no_plugin(listen: str) -> ConfigError:
    return ConfigError(
        f"{SETTINGS['listen'].flags[0]} {listen}: the server there is not a tee-device-plugin, or "
        "has another version: give the address in the plugin's log line telemetry_listening"
    )


def _is_well(status: Mapping[str, Any]) -> bool:
    """Whether a pod could be given a unit: a node that is merely full of pods is well."""
    count = status["units"]
    confirmed = status["cause"] is not None and status["cause"]["confirmed"]
    all_short = bool(count["unhealthy"]) and count["allocatable"] <= (count["allocated"] or 0)
    dra = status.get("dra")
    unpublished = dra is not None and (dra["problem"] or dra["published_bytes"] is None)
    offered = status["registered"] and count["capacity"] and not unpublished
    return bool(offered) and not confirmed and not all_short


def _asked(listen: str) -> dict[str, Any]:
    """Get the page `/status`.

    Raises:
        ConfigError: telemetry is off, or somebody else answers there.
        OSError: nobody does.
    """
    setting = SETTINGS["listen"]
    if not listen:
        raise ConfigError(
            f"{setting.flags[0]} off: the plugin has no telemetry: give it an address, "
            f"e.g. {setting.flags[0]} {setting.example}"
        )
    try:
        return anyio.run(get_status, listen)
    except NoPluginError:
        raise _no_plugin(listen) from None


def lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Write a status for people."""
    count, tee = status["units"], status["tee"]
    unit = format_size(count["unit_bytes"])
    yield f"{status['resource_name']}, {unit} a unit, backend {status['backend']}"
    allocated = "unknown" if count["allocated"] is None else count["allocated"]
    yield (
        f"units       {count['capacity']} listed, {count['allocatable']} healthy, "
        f"{allocated} allocated, "
        f"{count['unhealthy']} unhealthy"
        + (f" ({count['unhealthy_cause']})" if count["unhealthy_cause"] else "")
    )
    yield f"TEE         {_tee_line(tee)}"
    # A plugin of an older version doesn't have it.
    if versions := status.get("tee_versions"):
        yield f"            {', '.join(f'{part} {version}' for part, version in versions.items())}"
    if (cause := status["cause"]) is not None:
        yield f"            {cause['kind']}: {cause['error']}: {cause['fix']}"
    reason = status["not_registered_reason"]
    dra = status.get("dra")
    well = "has the driver registered" if dra else "watches the list"
    yield f"kubelet     {well if status['registered'] else reason}"
    if dra:
        yield from _dra_lines(dra)
    if not status["pod_resources_readable"]:
        yield "            allocation records unreadable: no shortage is shown"
    # A plugin of an older version doesn't have it, and most TEEs limit nobody.
    if (limits := status.get("limits")) is not None:
        yield from _limit_lines(limits)
    yield from _settings_lines(status)
    yield from _holder_lines(status["holders"])
    yield "last events"
    for event in status["events"][-_SHOWN_EVENTS:]:
        yield f"  {_event_line(event)}"


def _limit_lines(limits: Mapping[str, Any]) -> Iterator[str]:
    last = limits["last_reconcile"]
    yield (
        f"limits      {limits['limited']} containers limited, {limits['unset']} unset, "
        f"{limits['unrecorded']} without TEE access; "
        f"{limits['groups']} of {limits['groups_max']} groups used; "
        f"last reconcile {last or 'never'}"
    )
    if limits["reconcile_problem"] is not None:
        yield f"            {limits['reconcile_problem']}"


def _dra_lines(dra: Mapping[str, Any]) -> Iterator[str]:
    published = dra["published_bytes"]
    words = "none" if published is None else f"{dra['slice']}, {format_size(published)}"
    yield f"slice       {words}{''.join(f', tainted {taint}' for taint in dra['taints'])}"
    for problem in filter(None, (dra["problem"], dra["api_error"])):
        yield f"            {problem}"


def _settings_lines(status: Mapping[str, Any]) -> Iterator[str]:
    if (waiting := status["settings_waiting"]) != {}:
        changes = ", ".join(
            f"{key} {status['settings'][key]} → {text}" for key, text in waiting.items()
        )
        yield f"settings    need a restart of the plugin: {changes}"
    if status["settings_misfit"] is not None:
        yield f"settings    do not fit the TEE: {status['settings_misfit']}"
    if status["settings_problem"] is not None:
        yield f"settings    not changed: {status['settings_problem']}"


def _tee_line(tee: Mapping[str, Any] | None) -> str:
    if tee is None:
        return "has not answered yet"
    external = tee["external_use_min_bytes"]
    parts = [
        f"{format_size(tee['total_bytes'])} in all",
        f"{format_size(tee['free_bytes'])} free",
        f"{format_size(tee['reserve_bytes'])} reserved",
        f"external use at least {format_size(external)}" if external is not None else "",
        f"read {tee['last_reading']}" if tee["last_reading"] else "",
    ]
    return ", ".join(filter(None, parts))


def _holder_lines(holders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not holders:
        yield "holders     none"
        return
    yield "holders"
    width = max(len(str(holder["units"])) for holder in holders)
    for holder in sorted(holders, key=lambda each: -each["units"]):
        where = f"{holder['namespace']}/{holder['pod']} {holder['container']}"
        yield f"  {str(holder['units']).rjust(width)}  {where}"


def _event_line(event: Mapping[str, Any]) -> str:
    headed = {"timestamp", "level", "event"}
    details = " ".join(f"{key}={value}" for key, value in event.items() if key not in headed)
    return f"{event['timestamp']} {event['level']} {event['event']} {details}".rstrip()
