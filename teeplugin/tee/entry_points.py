"""Finds the backend that the operator chose among the installed entry points."""

import sys
from collections.abc import Mapping

from teeplugin.config.settings import ConfigError, nearest, shown, shown_path
from teeplugin.logs.setup import error_text
from teeplugin_backends.base import OptionError, TeeBackend

GROUP = "teeplugin.backends"


def load_backend(name: str, options: Mapping[str, str]) -> TeeBackend:
    """Import the one backend of this name and make it from its options; asks no TEE.

    Raises:
        ConfigError: there is no such backend, it can't be used, or it refuses an option.
    """
    # Costs start-up time, and neither --help nor --print-config needs it.
    from importlib.metadata import entry_points  # noqa: PLC0415 - see above

    place = f"--backend {shown(name)}"
    installed = entry_points(group=GROUP)
    # A package can be seen twice on the path (an editable install); only its targets count.
    chosen = {point.value: point for point in installed.select(name=name)}
    if not chosen:
        raise _unknown(place, name, sorted(installed.names))
    if len(chosen) > 1:
        raise ConfigError(
            f"{place}: registered by several packages ({', '.join(sorted(chosen))}):"
            " uninstall all but one"
        )
    [(target, point)] = chosen.items()
    try:
        backend = point.load()
    except Exception as error:
        # Somebody else's module may raise anything while it is imported.
        raise ConfigError(
            f"{place}: {target} can't be imported ({error_text(error)}):"
            " repair or reinstall the backend's package"
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, TeeBackend)):
        raise ConfigError(
            f"{place}: {target} is not a backend: it must be a subclass of"
            f" {TeeBackend.__module__}.{TeeBackend.__name__}: correct its entry point"
        )
    try:
        return backend.from_options(options)
    except OptionError as error:
        raise ConfigError(f"{place}: option {error}") from error
    except Exception as error:
        raise ConfigError(
            f"{place}: {target} can't be made from its options ({error_text(error)}):"
            " correct the options or the backend"
        ) from error


def installed_names() -> tuple[str, ...]:
    """Give the names of all installed backends; none is imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - costs start-up time

    return tuple(sorted(set(entry_points(group=GROUP).names)))


def _unknown(place: str, name: str, installed: list[str]) -> ConfigError:
    there_are = f"the backends here are {', '.join(installed) or 'none'}"
    meant = nearest(name, installed)
    guess = f"did you mean {meant}? " if meant else ""
    return ConfigError(f"{place}: no such backend: {guess}{there_are}: {_how_to_install()}")


def _how_to_install() -> str:
    """Say where a backend's package has to be installed for this plugin to find it."""
    python = shown_path(sys.executable)
    if sys.prefix != sys.base_prefix:
        return f"install its package with {python} -m pip install --no-deps PACKAGE"
    return (
        f"install its package for {python}, without dependencies; in a container use an image that "
        "has it"
    )
