"""The settings: one model that feeds flags, environment, YAML and the docs.

Each field names its flags, unit, rule and an example next to its type, so that `--help`, error
lines and documentation are made from here. Who gave which value is found in config_sources.
"""

import socket
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
    node_subdomain,
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


def _words(
    key: str, metavar: str, kind: str, rule: str, example: str, **more: Any
) -> dict[str, Any]:
    """Make the metadata that `Settings` describes."""
    words = {"key": key, "metavar": metavar, "kind": kind, "rule": rule, "example": example}
    return words | more


class Settings(BaseModel):
    """What an operator can choose; every value has passed its rule.

    In each field's metadata, `kind` completes "not …", `rule` completes "give …" and "must be …",
    and `example` stands after the flag, the variable or the key. `flags` lists what to write
    where that isn't `--` and the key; `default` describes a default that has no value. `rare` ones
    are in the documents, and not in `--help`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    precision_kb: Annotated[int, BeforeValidator(whole_number)] = Field(
        default=units.MIN_PRECISION_KB,
        ge=units.MIN_PRECISION_KB,
        le=MAX_BYTES // units.KIB,
        description="memory of one unit, 512 KB or more",
        json_schema_extra=_words(
            *("precision", "KB", "a whole number of KB", "512 or more", "512"),
            flags=["-precision"],
        ),
    )
    health_interval_seconds: Annotated[
        float, BeforeValidator(number), AfterValidator(not_over_and_over)
    ] = Field(
        default=60.0,
        ge=0,
        allow_inf_nan=False,
        description="query the TEE this often; 0: at start only",
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
        description="interface to the TEE",
        json_schema_extra=_words(
            "backend", "NAME", "a backend's name", "the name of an installed backend", "libteec"
        ),
    )
    backend_options: Mapping[str, str] = Field(
        default_factory=dict,
        description="option of the backend; may be repeated",
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
        json_schema_extra=_words(
            "reserve",
            "SIZE",
            "a size of whole bytes",
            "a number with K, M, G or T",
            "600MiB",
            default="the backend's own",
        ),
    )
    resource_name: Annotated[str, AfterValidator(extended_resource)] = Field(
        default="huawei.com/tee-ram",
        description="resource that pods request",
        json_schema_extra=_words(
            "resource-name",
            "NAME",
            "an extended resource's name",
            "vendor.domain/name",
            "huawei.com/tee-ram",
        ),
    )
    cdi: Switch = Field(
        default="off",
        description="TEE access by CDI only: off, on",
        json_schema_extra=_words("cdi", "SWITCH", "a switch", "on or off", "on"),
    )
    serve: Literal["device-plugin", "dra"] = Field(
        default="device-plugin",
        description="device-plugin, or dra for claims",
        json_schema_extra=_words(
            "serve", "WAY", "a way to serve the kubelet", "device-plugin or dra", "dra"
        ),
    )
    node_name: Annotated[str | None, AfterValidator(node_subdomain)] = Field(
        default=None,
        description="the node object's name, with dra",
        json_schema_extra=_words(
            "node-name",
            "NAME",
            "a node's name",
            "the name that kubectl get nodes shows for this node",
            "node-1",
            default="the host's name",
            rare=True,
        ),
    )
    fault_effect: Literal["NoSchedule", "NoExecute"] = Field(
        default="NoSchedule",
        description="what a fault's taint does to pods, with dra",
        json_schema_extra=_words(
            "fault-effect",
            "EFFECT",
            "a taint's effect",
            "NoSchedule or NoExecute",
            "NoExecute",
            rare=True,
        ),
    )
    kubelet_dir: Annotated[Path, BeforeValidator(existing_directory)] = Field(
        default=DEFAULT_KUBELET_DIR,
        description="directory of device-plugins",
        json_schema_extra=_words(
            "kubelet-dir",
            "DIR",
            "an existing directory",
            "the one that has device-plugins, whatever the kubelet's --root-dir is",
            "/var/lib/kubelet",
        ),
    )
    pod_resources_dir: Annotated[Path | None, BeforeValidator(any_path)] = Field(
        default=None,
        description="the kubelet's pod-resources",
        json_schema_extra=_words(
            "pod-resources-dir",
            "DIR",
            "a directory's path",
            "pod-resources in the kubelet's --root-dir; it need not be there yet",
            "/var/lib/k0s/kubelet/pod-resources",
            default="in kubelet-dir",
            rare=True,
        ),
    )
    host_root: Annotated[Path, BeforeValidator(existing_directory)] = Field(
        default=DEFAULT_HOST_ROOT,
        description="directory of the node's own /dev",
        json_schema_extra=_words(
            "host-root", "DIR", "an existing directory", "where the node's root is mounted", "/host"
        ),
    )
    listen: Annotated[str, AfterValidator(listen_address)] = Field(
        default=DEFAULT_LISTEN,
        description="metrics, probes; off: none",
        json_schema_extra=_words(
            "listen",
            "HOST:PORT",
            "an address",
            "HOST:PORT, :PORT for all addresses, or off",
            DEFAULT_LISTEN,
        ),
    )
    log_format: LogFormat = Field(
        default="text",
        description="text or json, one line a message",
        json_schema_extra=_words("log-format", "FORMAT", "a log format", "text or json", "json"),
    )
    log_level: LogLevel = Field(
        default="info",
        description="debug, info, warning or error",
        json_schema_extra=_words(
            "log-level", "LEVEL", "a log level", "debug, info, warning or error", "info"
        ),
    )

    @property
    def unit_bytes(self) -> int:
        """The memory of one unit."""
        return self.precision_kb * units.KIB

    @property
    def node(self) -> str:
        """The node object's name: as the kubelet makes it from the host's where none is given."""
        return self.node_name or socket.gethostname().lower()

    @property
    def kubelet_root_dir(self) -> Path:
        """The kubelet's --root-dir, where it looks for DRA drivers: it has pod-resources, too."""
        return self.pod_resources_dir.parent if self.pod_resources_dir else self.kubelet_dir

    @property
    def device_plugins_dir(self) -> Path:
        """Where the kubelet's registration socket and ours are."""
        return self.kubelet_dir / "device-plugins"

    @property
    def registration_dir(self) -> Path:
        """Where the socket is by which the kubelet knows the plugin."""
        registry = self.kubelet_root_dir / "plugins_registry"
        return registry if self.serve == "dra" else self.device_plugins_dir

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
    rare: bool

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
            rare=meta.get("rare", False),
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
