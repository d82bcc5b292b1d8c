"""Reloads the settings while the plugin runs: on SIGHUP, or when their file changes.

All or nothing: what breaks a rule, or doesn't fit the TEE, leaves everything as it was. What the
kubelet and the containers have been told can't change under them, and waits for a restart.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anyio

from teeplugin.config.settings import ConfigError, Settings, differing
from teeplugin.kubelet.directory_watch import file_identity
from teeplugin.logs.setup import configure, get_logger
from teeplugin.policy.decide import check_policy_settings
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
    """Keeps the settings in force; `problem` says what is wrong with newer ones, or None."""

    def __init__(self, settings: Settings, sources: Sources | None, poller: TeePoller) -> None:
        self.settings = settings
        self.problem: str | None = None
        self._sources = sources
        self._poller = poller

    async def follow_file(self) -> None:
        """Reload whenever the file is another one, until cancelled."""
        if self._sources is None or self._sources.file is None:
            return
        file = self._sources.file
        known = file_identity(file)
        while True:
            await anyio.sleep(LOOK_SECONDS)
            found = file_identity(file)
            if found not in (None, known):
                known = found
                if self.reload():
                    self._poller.query_now()

    def reload(self) -> bool:
        """Read the settings and put in force what may change; tell whether anything did."""
        if self._sources is None:
            return False
        try:
            wanted = self._sources.read()
            applied = self._applied(wanted)
        except ConfigError as error:
            self.problem = str(error)
            _log.error(
                "reload_rejected",
                error=self.problem,
                effect="those from before stay in force, all of them",
                fix="mend what the error names; they are read again when their file changes",
            )
            return False
        self.problem = None
        self._log_changes(wanted, applied)
        changed = applied != self.settings
        self.settings = applied
        return changed

    def _applied(self, wanted: Settings) -> Settings:
        """Put in force what may change, and give what is in force then.

        Raises:
            ConfigError: the TEE that was last read has no room for them.
        """
        applied = self.settings.model_copy(
            update={name: getattr(wanted, name) for name in CHANGEABLE}
        )
        before, memory = self._poller.policy_settings, self._poller.decision.memory
        policy_settings = before._replace(interval_seconds=applied.health_interval_seconds)
        if applied.reserve_bytes != self.settings.reserve_bytes:
            # Before the first reading the backend's own isn't known, and nothing is listed yet.
            own = self._poller.default_reserve_bytes
            reserve_bytes = own if applied.reserve_bytes is None else applied.reserve_bytes
            policy_settings = policy_settings._replace(reserve_bytes=reserve_bytes)
            problem = check_policy_settings(memory, policy_settings) if memory else None
            if problem is not None:
                raise ConfigError(problem)
        self._poller.policy_settings = policy_settings
        if (applied.log_format, applied.log_level) != (
            self.settings.log_format,
            self.settings.log_level,
        ):
            configure(applied.log_format, applied.log_level)
        return applied

    def _log_changes(self, wanted: Settings, applied: Settings) -> None:
        waiting = differing(wanted, applied)
        if waiting:
            _log.warning(
                "settings_need_restart",
                settings=waiting,
                effect="they stay as they were, while the rest is in force",
                fix="restart the plugin",
            )
        changed = differing(applied, self.settings)
        if changed:
            _log.info("settings_changed", settings=changed)
        if "health-interval" in changed:
            warn_without_interval(applied)


def warn_without_interval(settings: Settings) -> None:
    """Warn, if so, that the list doesn't follow the TEE by itself."""
    if not settings.health_interval_seconds:
        _log.warning(
            "health_checks_off",
            effect="the TEE is asked at the start and on SIGHUP, and while a fault stands: "
            "else the list does not follow it",
        )
