"""Checks of the settings, of the running plugin's settings, and of the backend."""

import shlex
from collections.abc import Iterator, Mapping

from teeplugin.cli.console import PROGRAM
from teeplugin.commands.doctor.evidence import Evidence, NotSeenError, PluginStatus
from teeplugin.commands.doctor.model import (
    Outcome,
    SettingInForce,
    failed,
    not_applicable,
    ok,
    warning,
)
from teeplugin.config.given import OPTIONS_KEY
from teeplugin.config.settings import SETTINGS, Settings, differing
from teeplugin.kubelet.endpoint import LONGEST_SOCKET_PATH


def settings_in_force(evidence: Evidence) -> Mapping[str, SettingInForce]:
    """Every setting with its value in words and where it is from; none if they can't be used."""
    loaded = evidence.loaded
    if loaded is None:
        return {}
    found = {}
    for key, setting in SETTINGS.items():
        value = getattr(loaded.settings, setting.attribute)
        if key != OPTIONS_KEY:
            found[key] = SettingInForce(
                _in_words(setting.text_in(loaded.settings), setting.default), loaded.provenance[key]
            )
            continue
        for name, text in value.items():
            option = f"{key}.{name}"
            found[option] = SettingInForce(text, loaded.provenance[option])
    return found


def _in_words(text: str | None, default: str) -> str:
    return default if text is None else text or "off"


def configuration(evidence: Evidence) -> Outcome:
    """The sources can be read and every value keeps its rule, as when the plugin starts."""
    if evidence.settings_problem:
        fix = "do what the message says at its end"
        return failed(evidence.settings_problem, fix)
    settings = evidence.settings
    if not evidence.socket_path_fits:
        text = (
            f"a socket's path in {settings.device_plugins_dir} would be over "
            f"{LONGEST_SOCKET_PATH} bytes, the limit of Linux"
        )
        return failed(text, "give a shorter --kubelet-dir, for instance a link to it")
    if evidence.loaded and (doubts := evidence.loaded.doubts):
        found = [f"{each.setting} {each.value}: {each.effect}" for each in doubts]
        return warning("; ".join(found), "; ".join(each.fix for each in doubts))
    given = [
        f"{key} {setting.value} ({setting.origin})"
        for key, setting in settings_in_force(evidence).items()
        if setting.origin != "default"
    ]
    return ok(", ".join([*given, "defaults for the rest"]) if given else "all defaults")


def running_settings(evidence: Evidence) -> Outcome:
    """The plugin that runs here has the settings that doctor goes by."""
    process, status = evidence.process, evidence.page.status if evidence.page else None
    if process is not None and process.settings is not None:
        others = differing(evidence.settings, process.settings)
        command = shlex.join([PROGRAM, "doctor", *process.flags])
        fix = f"start doctor with the plugin's variables and flags:\n{command}"
        if others:
            text = f"process {process.pid}, the plugin, was started with another"
            return warning(f"{text} {', '.join(others)}", fix)
        return _as_reread(status) or ok(f"those of process {process.pid}, the plugin")
    if status is not None:
        others = [
            key
            for key in _differing_told(evidence.settings, status)
            if key not in status.settings_waiting
        ]
        if others:
            fix = "start doctor with the flags, variables and file of the plugin"
            return warning(f"the running plugin has another {', '.join(others)}", fix)
        text = "the running plugin reports the same settings"
        return _as_reread(status) or ok(text)
    return not_applicable("no running plugin found")


def _differing_told(ours: Settings, status: PluginStatus) -> Iterator[str]:
    told = {
        "resource-name": (ours.resource_name, status.resource),
        "backend": (ours.backend, status.backend),
        "precision": (ours.unit_bytes, status.unit_bytes),
    }
    return (key for key, (our, their) in told.items() if our != their)


def _as_reread(status: PluginStatus | None) -> Outcome | None:
    """Tell of settings that the plugin has read since, and that aren't in force."""
    if status is not None and status.settings_waiting:
        waiting = ", ".join(f"{key} {text}" for key, text in status.settings_waiting.items())
        text = f"new settings need a restart of the plugin: {waiting}"
        return warning(text, "restart the plugin")
    if status is None or status.settings_problem is None:
        return None
    text = f"the plugin rejected a reload and kept the old settings: {status.settings_problem}"
    return warning(text, "do what the message says at its end, and send the plugin SIGHUP")


def preload(evidence: Evidence) -> Outcome:
    """Nothing is preloaded: iTrustee's library ends a process that has LD_PRELOAD set.

    It reads that variable only; /etc/ld.so.preload doesn't disturb it.
    """
    is_ours = evidence.loaded is None or evidence.backend_is_ours
    if evidence.preloaded and is_ours:
        text = (
            f"LD_PRELOAD={evidence.preloaded} is set: the plugin removes it for its helper, but "
            "iTrustee's library ends other clients that have it"
        )
        return warning(text, "start the plugin, and clients of the TEE, without LD_PRELOAD")
    if evidence.preloaded:
        return not_applicable("LD_PRELOAD disturbs iTrustee's library only")
    return ok("LD_PRELOAD isn't set")


def backend(evidence: Evidence) -> Outcome:
    """The chosen backend is installed and takes its options."""
    if evidence.backend_problem:
        return failed(evidence.backend_problem, "do what the message says at its end")
    if not evidence.backend_found:
        raise NotSeenError("importing the backend")
    name = evidence.settings.backend
    if evidence.answer is not None and evidence.answer.bugs:
        text = f"{name} has bugs: {'; '.join(evidence.answer.bugs)}"
        return warning(text, "report it to the backend's author")
    if evidence.backend_simulated:
        text = f"{name}: its units have no memory behind them"
        return warning(text, "on nodes for pods give a TEE's backend, such as --backend libteec")
    return ok(name)
