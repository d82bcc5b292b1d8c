"""Where settings come from: flags over environment over file over defaults.

Each source becomes a layer of texts that know where they were written. The layers are laid over
each other and given to the model once; what it refuses is told here, in one place.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from teeplugin.config.doubts import Doubt, doubts_of
from teeplugin.config.given import OPTIONS_KEY, Given, Layer, config_path
from teeplugin.config.settings import ENVIRONMENT_PREFIX, SETTINGS, ConfigError, Settings, shown

CONFIG_KEY = "config"
CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"

_LONGEST_NAME = 100
"""Of a backend's option: YAML, in which it may be printed, has no key of more than 1,024."""


class FlagValue(NamedTuple):
    """A flag of the command line: the key of its setting, as it was spelled, and its value."""

    key: str
    flag: str
    text: str


class Loaded(NamedTuple):
    """The settings and where each came from, by key; options by `backend-options.NAME`.

    `file` is the YAML file among the sources, if there was one, and `text` what was in it; `doubts`
    are on values that were hardly meant.
    """

    settings: Settings
    provenance: Mapping[str, str]
    file: Path | None = None
    text: str | None = None
    doubts: tuple[Doubt, ...] = ()


def load(
    flags: Sequence[FlagValue],
    environ: Mapping[str, str],
    keys: Collection[str] = SETTINGS.keys(),
    *,
    before: str | None = None,
) -> Loaded:
    """Read all sources and validate what they give together, of the settings that `keys` names.

    The file has to be one of the daemon's all the same, but its other values may be of any kind.
    `before` is the file's text when it was last read: one that has lost its end is refused.

    Raises:
        ConfigError: a value breaks its rule, or a source can't be read.
    """
    flag_layer, environment_layer = _from_flags(flags), _from_environment(environ, keys)
    file = flag_layer.values.pop(CONFIG_KEY, None) or _config_variable(environ)
    layers = [environment_layer, flag_layer]
    text = None
    if file is not None:
        from teeplugin.config.yaml_file import from_file  # noqa: PLC0415 - YAML only where used

        layer, text = from_file(file, before)
        layers.insert(0, layer)
    values: dict[str, Given] = {}
    options: dict[str, Given] = {}
    for layer in layers:
        values |= {key: given for key, given in layer.values.items() if key in keys}
        if OPTIONS_KEY in keys:
            options |= layer.options
    by_hand = environment_layer.values.keys() | flag_layer.values.keys()
    settings = validated(values, options, by_hand)
    path = config_path(file) if file is not None else None
    return Loaded(settings, _provenance(values, options), path, text, tuple(doubts_of(values)))


def reloading(
    loaded: Loaded, flags: Sequence[FlagValue], environ: Mapping[str, str]
) -> Callable[[], Loaded]:
    """Make a function that reads all sources again, and raises ConfigError as `load` does."""

    def load_again() -> Loaded:
        nonlocal loaded
        loaded = load(flags, environ, before=loaded.text)
        return loaded

    return load_again


def _from_flags(flags: Sequence[FlagValue]) -> Layer:
    layer = Layer()
    for key, flag, text in flags:
        given = Given(text, origin=f"flag {flag}", place=f"{flag} ", spelling=f"{flag} ")
        if key == OPTIONS_KEY:
            layer.options.update([_option(given, text)])
        else:
            layer.values[key] = given  # as in Go, the last one counts
    return layer


def _from_environment(environ: Mapping[str, str], keys: Collection[str]) -> Layer:
    """Look for our own variables only, and take an empty one for not set.

    Others that begin like ours must be ignored: a Kubernetes Service called `teeplugin` puts
    TEEPLUGIN_PORT, TEEPLUGIN_SERVICE_HOST and more into every pod of its namespace.
    """
    layer = Layer()
    for key, setting in SETTINGS.items():
        text = environ.get(setting.variable)
        if not text or key not in keys:
            continue
        given = _variable(setting.variable, text)
        if key == OPTIONS_KEY:
            pairs = [pair.strip() for pair in text.split(",")]
            layer.options.update(_option(given, pair) for pair in pairs if pair)
        else:
            layer.values[key] = given
    return layer


def _config_variable(environ: Mapping[str, str]) -> Given | None:
    text = environ.get(CONFIG_VARIABLE)
    return _variable(CONFIG_VARIABLE, text) if text else None


def _variable(name: str, text: str) -> Given:
    origin = f"environment {name}"
    return Given(text, origin=origin, place=f"{origin}=", spelling=f"{name}=")


def _option(given: Given, pair: str) -> tuple[str, Given]:
    """Split KEY=VALUE; the value may hold more `=`."""
    key, equals, text = pair.partition("=")
    if not equals or not key:
        setting = SETTINGS[OPTIONS_KEY]
        raise given.breaks(setting, f"{shown(pair)} is not {setting.kind}")
    return key, Given(text, given.origin, f"{given.place}{key}=", f"{given.spelling}{key}=")


def validated(
    values: Mapping[str, Given], options: Mapping[str, Given], by_hand: Collection[str]
) -> Settings:
    """Give everything to the model, which has to know what was given by flag or environment.

    Only a file may name a default directory that isn't there: a printed configuration does.

    Raises:
        ConfigError: a value breaks its rule.
    """
    for name, given in (*values.items(), *options.items()):
        if len(name) > _LONGEST_NAME:
            raise ConfigError(
                f"{given.origin}: {shown(name)}: no option has so long a name: give KEY=VALUE"
            )
        try:
            f"{name}{given.text or ''}".encode()
        except UnicodeEncodeError:
            raise given.refused("not UTF-8", "write it in UTF-8") from None
    raw: dict[str, Any] = {SETTINGS[key].attribute: given.text for key, given in values.items()}
    if options:
        raw[SETTINGS[OPTIONS_KEY].attribute] = {key: given.text for key, given in options.items()}
    try:
        return Settings.model_validate(raw, context={SETTINGS[key].attribute for key in by_hand})
    except ValidationError as error:
        raise _translated(error.errors(include_url=False)[0], values) from None


def _translated(error: ErrorDetails, values: Mapping[str, Given]) -> ConfigError:
    """Say in our words what the model refused: the only place that knows pydantic's errors."""
    setting = next(each for each in SETTINGS.values() if each.attribute == error["loc"][0])
    given, context = values[setting.key], error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            return given.breaks(setting, f"must be {context['ge']:g} or more", setting.kind)
        case "less_than_equal":
            return given.breaks(setting, f"must be {context['le']} or less", setting.kind)
        case "value_error":
            return given.breaks(setting, str(context["error"]))
        case _ if given.text is None:
            return given.breaks(setting, "has no value")
        case _:
            return given.breaks(setting, f"not {setting.kind}")


def _provenance(values: Mapping[str, Given], options: Mapping[str, Given]) -> Mapping[str, str]:
    provenance = {key: values[key].origin if key in values else "default" for key in SETTINGS}
    if options:
        origins = dict.fromkeys(given.origin for given in options.values())
        provenance[OPTIONS_KEY] = ", ".join(origins)
    return provenance | {f"{OPTIONS_KEY}.{name}": given.origin for name, given in options.items()}
