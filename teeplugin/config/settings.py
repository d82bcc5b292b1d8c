"""The settings: one model that feeds flags, environment, YAML and the docs.

Each field names its flags, unit, rule and an example next to its type, so that `--help`, error
lines and documentation are made from here. Who gave which value is found in config_sources.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from teeplugin.config.validators import (
    DEFAULT_HOST_ROOT,
    DEFAULT_KUBELET_DIR,
    DEFAULT_LISTEN,
    MAX_BYTES,
    any_path,
    existing_directory,
    extended_resource,
    listen_address,
    not_empty,
    not_over_and_over,
    number,
    size,
    whole_number,
)
from teeplugin.policy import units

ENVIRONMENT_PREFIX = "TEEPLUGIN_"

_LONGEST_SHOWN = 100

LogFormat = Literal["text", "json"]
Switch = Literal["off", "on"]
LogLevel = Literal["debug", "info", "warning", "error"]


class ConfigError(Exception):
    """The configuration can't be used: one line with the value, the rule and the fix.

    Whatever it quotes, no control character of it reaches the terminal.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        super().__init__("".join(each if each.isprintable() else repr(each)[1:-1] for each in line))


def shown(value: str) -> str:
    """Write a value so that it can stand in a line: quoted where it would not be seen as it is."""
    if len(value) > _LONGEST_SHOWN:
        value = f"{value[:_LONGEST_SHOWN]}..."
    return shown_path(value)


def shown_path(path: str | Path) -> str:
    """Write a path whole, however long, since its end tells the files of a folder apart."""
    text = str(path)
    return text if text.isprintable() and text and " " not in text else repr(text)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Find the candidate that was probably meant, if there is one."""
    import difflib  # noqa: PLC0415 - costs start-up time and is needed only for a mistake

    # Cut, because it takes quadratic time, and nothing that long is near to a name of ours.
    found = difflib.get_close_matches(word[:_LONGEST_SHOWN].lower(), candidates, n=1)
    return found[0] if found else None


class Settings(BaseModel):
    """What an operator can choose; every value has passed its rule.

    In each field's metadata, `kind` completes "not …", `rule` completes "give …" and "must be …",
    and `example` stands after the flag, the variable or the key. `flags` lists what to write
    where that isn't `--` and the key; `default` describes a default that has no value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    precision_kb: Annotated[int, BeforeValidator(whole_number)] = Field(
        default=units.MIN_PRECISION_KB,
        ge=units.MIN_PRECISION_KB,
        le=MAX_BYTES // units.KIB,
        description="memory of one unit, 512 KB or more",
        json_schema_extra={
            "key": "precision",
            "flags": ["-precision"],
            "metavar": "KB",
            "kind": "a whole number of KB",
            "rule": "512 or more",
            "example": "512",
        },
    )
    health_interval_seconds: Annotated[
        float, BeforeValidator(number), AfterValidator(not_over_and_over)
    ] = Field(
        default=60.0,
        ge=0,
        allow_inf_nan=False,
        description="ask the TEE this often; 0: at the start only",
        json_schema_extra={
            "key": "health-interval",
            # The Go plugin's spelling stays valid, and the readable one is its equal.
            "flags": ["-internal", "--health-interval"],
            "metavar": "SECONDS",
            "kind": "a finite number of seconds",
            "rule": "0 or more",
            "example": "60",
        },
    )
    backend: Annotated[str, AfterValidator(not_empty)] = Field(
        default="libteec",
        description="how the TEE is asked",
        json_schema_extra={
            "key": "backend",
            "metavar": "NAME",
            "kind": "a backend's name",
            "rule": "the name of an installed backend",
            "example": "libteec",
        },
    )
    backend_options: Mapping[str, str] = Field(
        default_factory=dict,
        description="for the backend; may be repeated",
        json_schema_extra={
            "key": "backend-options",
            "flags": ["--backend-option"],
            "metavar": "KEY=VALUE",
            "kind": "KEY=VALUE",
            "rule": "an option of the backend and its value",
            "example": "total=4GiB",
            "default": "none",
        },
    )
    reserve_bytes: Annotated[int | None, BeforeValidator(size)] = Field(
        default=None,
        ge=0,
        le=MAX_BYTES,
        description="for the TEE OS, like 600MiB",
        json_schema_extra={
            "key": "reserve",
            "metavar": "SIZE",
            "kind": "a size of whole bytes",
            "rule": "a number with K, M, G or T",
            "example": "600MiB",
            "default": "the backend's own",
        },
    )
    resource_name: Annotated[str, AfterValidator(extended_resource)] = Field(
        default="huawei.com/tee-ram",
        description="what pods ask for",
        json_schema_extra={
            "key": "resource-name",
            "metavar": "NAME",
            "kind": "an extended resource's name",
            "rule": "vendor.domain/name",
            "example": "huawei.com/tee-ram",
        },
    )
    cdi: Switch = Field(
        default="off",
        description="TEE access by CDI only: off, on",
        json_schema_extra={
            "key": "cdi",
            "metavar": "SWITCH",
            "kind": "a switch",
            "rule": "on or off",
            "example": "on",
        },
    )
    kubelet_dir: Annotated[Path, BeforeValidator(existing_directory)] = Field(
        default=DEFAULT_KUBELET_DIR,
        description="where device-plugins is",
        json_schema_extra={
            "key": "kubelet-dir",
            "metavar": "DIR",
            "kind": "an existing directory",
            "rule": "the one that has device-plugins, whatever the kubelet's --root-dir is",
            "example": "/var/lib/kubelet",
        },
    )
    pod_resources_dir: Annotated[Path | None, BeforeValidator(any_path)] = Field(
        default=None,
        description="the kubelet's pod-resources",
        json_schema_extra={
            "key": "pod-resources-dir",
            "metavar": "DIR",
            "kind": "a directory's path",
            "rule": "pod-resources in the kubelet's --root-dir; it need not be there yet",
            "example": "/var/lib/k0s/kubelet/pod-resources",
            "default": "in kubelet-dir",
        },
    )
    host_root: Annotated[Path, BeforeValidator(existing_directory)] = Field(
        default=DEFAULT_HOST_ROOT,
        description="where the node's own /dev is seen",
        json_schema_extra={
            "key": "host-root",
            "metavar": "DIR",
            "kind": "an existing directory",
            "rule": "where the node's root is mounted",
            "example": "/host",
        },
    )
    listen: Annotated[str, AfterValidator(listen_address)] = Field(
        default=DEFAULT_LISTEN,
        description="metrics, probes; off: none",
        json_schema_extra={
            "key": "listen",
            "metavar": "HOST:PORT",
            "kind": "an address",
            "rule": "HOST:PORT, :PORT for all addresses, or off",
            "example": DEFAULT_LISTEN,
        },
    )
    log_format: LogFormat = Field(
        default="text",
        description="text or json, one line a message",
        json_schema_extra={
            "key": "log-format",
            "metavar": "FORMAT",
            "kind": "a log format",
            "rule": "text or json",
            "example": "json",
        },
    )
    log_level: LogLevel = Field(
        default="info",
        description="debug, info, warning or error",
        json_schema_extra={
            "key": "log-level",
            "metavar": "LEVEL",
            "kind": "a log level",
            "rule": "debug, info, warning or error",
            "example": "info",
        },
    )

    @property
    def unit_bytes(self) -> int:
        """The memory of one unit."""
        return self.precision_kb * units.KIB

    @property
    def device_plugins_dir(self) -> Path:
        """Where the kubelet's registration socket and ours are."""
        return self.kubelet_dir / "device-plugins"

    @property
    def pod_resources_socket(self) -> Path:
        """Where the kubelet tells which pod holds which unit."""
        return (self.pod_resources_dir or self.kubelet_dir / "pod-resources") / "kubelet.sock"


class Setting(NamedTuple):
    """One field of the settings as flags, environment, YAML and docs know it."""

    attribute: str
    key: str
    flags: tuple[str, ...]
    metavar: str
    description: str
    kind: str
    rule: str
    example: str
    default: str

    @property
    def variable(self) -> str:
        """The environment variable's name."""
        return ENVIRONMENT_PREFIX + self.key.upper().replace("-", "_")

    def text_in(self, settings: Settings) -> str | None:
        """Write its value in the words of flags, variables and YAML; None where it has none."""
        value = getattr(settings, self.attribute)
        if isinstance(value, Mapping):
            return ",".join(f"{name}={text}" for name, text in value.items())
        if self.metavar == "SIZE" and value is not None:
            return units.flag_size(value)
        return None if value is None else setting_text(value)


def setting_text(value: object) -> str:
    """Write a setting's value in the words of flags and YAML, but for a size."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _settings() -> Iterable[Setting]:
    for attribute, info in Settings.model_fields.items():
        meta = cast("dict[str, Any]", info.json_schema_extra)
        yield Setting(
            attribute=attribute,
            key=meta["key"],
            flags=tuple(meta.get("flags", (f"--{meta['key']}",))),
            metavar=meta["metavar"],
            description=info.description or "",
            kind=meta["kind"],
            rule=meta["rule"],
            example=meta["example"],
            default=meta.get("default") or setting_text(info.default),
        )


SETTINGS: Mapping[str, Setting] = {setting.key: setting for setting in _settings()}
"""Every setting by its key, in the order of the model."""


def differing(one: Settings, other: Settings) -> list[str]:
    """Name the settings, by their keys, that differ."""
    return [
        key
        for key, setting in SETTINGS.items()
        if getattr(one, setting.attribute) != getattr(other, setting.attribute)
    ]
