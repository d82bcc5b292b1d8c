"""A backend that the user chose for the simulated node: asked once, for what the stage must know.

The plugin that is started has the same backend, and asks it as on a real node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from teeplugin.config.settings import ConfigError
from teeplugin.config.sources import FlagValue, load
from teeplugin.tee.entry_points import load_backend
from teeplugin.tee.guard import ask_once
from teeplugin_backends.base import ContainerAccess, TeeError, TeeMemory


@dataclass(frozen=True, slots=True)
class OwnBackend:
    """A backend by its name, its options, and what it answered before the plugin was started."""

    name: str
    options: Mapping[str, str]
    memory: TeeMemory
    reserve_bytes: int
    access: ContainerAccess

    @property
    def flags(self) -> Sequence[str]:
        """The plugin's flags that choose it."""
        pairs = (f"{key}={text}" for key, text in self.options.items())
        return (
            "--backend",
            self.name,
            *(word for pair in pairs for word in ("--backend-option", pair)),
        )


def ask(name: str, pairs: Sequence[str]) -> OwnBackend:
    """Make the backend of this name from KEY=VALUE pairs, and ask it once.

    Raises:
        ConfigError: there is no such backend, it refuses an option, or gives no reading.
    """
    flags = [FlagValue("backend", "--backend", name)]
    flags += [FlagValue("backend-options", "--backend-option", pair) for pair in pairs]
    settings = load(flags, {}, ("backend", "backend-options")).settings
    backend = load_backend(settings.backend, settings.backend_options)
    try:
        memory, needs = anyio.run(ask_once, backend)
    except TeeError as error:
        raise ConfigError(
            f"--backend {settings.backend}: gives no reading: {error.kind}: {error}: {error.fix}"
        ) from None
    return OwnBackend(
        settings.backend,
        settings.backend_options,
        memory,
        needs.default_reserve_bytes,
        needs.access,
    )
