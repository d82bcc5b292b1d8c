"""Reloads the settings while the plugin runs: on SIGHUP, or when their file changes.

All or nothing: what can't be read, breaks a rule or doesn't fit the TEE leaves all as it was. What
the kubelet and the containers have been told can't change under them, and waits for a restart.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import anyio

from teeplugin.config.settings import SETTINGS, ConfigError, Settings, differing
from teeplugin.logs.setup import configure, get_logger
from teeplugin.policy.decide import PolicySettings, check_policy_settings
from teeplugin.tee.poller import TeePoller

LOOK_SECONDS = 5.0
"""How often the file is looked at; a ConfigMap takes up to a minute to reach it anyway."""

CHANGEABLE = frozenset({"health_interval_seconds", "reserve_bytes", "log_level", "log_format"})
"""What may change while the plugin runs, by the settings' attributes."""

_log = get_logger()


class Sources(NamedTuple):
    """Where the settings come from: `read` reads all anew, `file` is the file among them."""

    read: Callable[[], Settings]
    file: Path | None = None


class Reloader:
    """Keeps the settings in force, and alone changes them.

    `wanted` are those that were last read: what can't change while the plugin runs is in force only
    after a restart. `problem` says what is wrong with newer ones, or None.
    """

    def __init__(self, settings: Settings, sources: Sources | None, poller: TeePoller) -> None:
        self.settings = self.wanted = settings
        self.problem: str | None = None
        self._sources = sources
        self._poller = poller
        # As if it were another one: it may have changed since it was read at the start.
        self._version: object = ()

    @property
    def waiting(self) -> Mapping[str, str | None]:
        """The settings that wait for a restart, by their keys, and what they will be."""
        keys = differing(self.wanted, self.settings)
        return {key: SETTINGS[key].text_in(self.wanted) for key in keys}

    async def follow_file(self) -> None:
        """Reload whenever the file is another one than at the last reload, until cancelled.

        While there is a `problem`, also without a change: what hindered it, such as too few
        descriptors or too little memory in the TEE, may end without one.
        """
        if self._sources is None or self._sources.file is None:
            return
        while True:
            await anyio.sleep(LOOK_SECONDS)
            is_another = _version(self._sources.file) != self._version
            if (is_another or self.problem is not None) and self.reload():
                self._poller.query_now()

    def reload(self) -> bool:
        """Read the settings and put in force what may change; tell whether anything did."""
        if self._sources is None:
            return False
        # Looked at before it is read: what changes meanwhile is read again.
        before, self._version = self._version, _version(self._sources.file)
        try:
            wanted = self._sources.read()
            applied = self._applied(wanted)
        except ConfigError as error:
            if (str(error), self._version) != (self.problem, before):
                self._log_problem(str(error))
            self.problem = str(error)
            return False
        if self.problem is not None:
            _log.info("reload_recovered", was=self.problem)
        self.problem = None
        settings, waiting = self.settings, self.waiting
        self.settings, self.wanted = applied, wanted
        self._log_changes(settings, waiting)
        return applied != settings

    def _log_problem(self, problem: str) -> None:
        _log.error(
            "reload_rejected",
            error=problem,
            effect="all previous settings stay in force",
            fix=f"correct the settings; the plugin reads their file again every {LOOK_SECONDS:g} s",
        )

    def _applied(self, wanted: Settings) -> Settings:
        """Put in force what may change, and give what is in force then.

        Raises:
            ConfigError: the TEE that was last read has no room for them.
        """
        applied = self.settings.model_copy(
            update={name: getattr(wanted, name) for name in CHANGEABLE}
        )
        policy_settings, memory = policy_settings_of(applied), self._poller.decision.memory
        if memory is not None and applied.reserve_bytes != self.settings.reserve_bytes:
            resolved = policy_settings.resolved(self._poller.default_reserve_bytes)
            problem = check_policy_settings(memory, resolved)
            if problem is not None:
                raise ConfigError(problem)
        self._poller.wanted = policy_settings
        if (applied.log_format, applied.log_level) != (
            self.settings.log_format,
            self.settings.log_level,
        ):
            configure(applied.log_format, applied.log_level)
        return applied

    def _log_changes(self, settings: Settings, waiting: Mapping[str, str | None]) -> None:
        """Log what is new compared with the settings in force, and those waiting, from before."""
        if self.waiting and self.waiting != waiting:
            _log.warning(
                "settings_need_restart",
                settings=list(self.waiting),
                effect="these settings keep their old values; all other changes are in force",
                fix="restart the plugin",
            )
        changed = differing(self.settings, settings)
        if changed:
            _log.info("settings_changed", settings=changed)
        if "health-interval" in changed:
            warn_without_interval(self.settings)


def policy_settings_of(settings: Settings) -> PolicySettings:
    """What of the settings decides what is listed, and how often the TEE is asked."""
    return PolicySettings(
        unit_bytes=settings.unit_bytes,
        reserve_bytes=settings.reserve_bytes,
        interval_seconds=settings.health_interval_seconds,
        cdi=settings.cdi == "on",
    )


def _version(file: Path | None) -> object:
    """What is another after each change of the file; None where there is none."""
    try:
        status = file.stat() if file else None
    except OSError:
        return None
    # With the size: two writes may come within one tick of the clock.
    return status and (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)


def warn_without_interval(settings: Settings) -> None:
    """Warn, if so, that the list doesn't follow the TEE by itself."""
    if not settings.health_interval_seconds:
        _log.warning(
            "health_checks_off",
            effect="the plugin queries the TEE at the start, on SIGHUP and during a fault only: "
            "the list does not follow other changes",
        )
