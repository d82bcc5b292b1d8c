"""What happens on nodes, and which alerts it should bring, for test_alerts.

Values are in promtool's notation, one a minute from minute 0 on: `1x5` is six times 1, `1+2x5` are
1, 3, 5 … 11, `_x5` nothing at five minutes, `stale` the end of a series, which Prometheus notes
when a target no longer has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.monitoring.node import RESOURCE, TARGET

MIB = 1024 * 1024

_BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0")


@dataclass(frozen=True)
class Fires:
    """Series with which one alert, and no other, fires from a minute on and not a minute before."""

    what: str
    alert: str
    minute: int
    changes: Mapping[str, str | None]
    value: str = ""
    """What `$value` becomes in the annotations."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The alert's labels beside the target's and the resource."""
    bare: bool = False
    """Whether those are all its labels."""

    def __str__(self) -> str:
        return f"{self.alert}: {self.what}"

    def all_labels(self, severity: str) -> dict[str, str]:
        common = {} if self.bare else {**TARGET, "resource": RESOURCE}
        return {**common, **self.labels, "severity": severity}


@dataclass(frozen=True)
class Quiet:
    """Series with which an alert never fires up to a minute; `instead` are the alerts that did."""

    what: str
    alert: str
    minute: int
    changes: Mapping[str, str | None]
    instead: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.alert}: {self.what}"


def durations(*steps: tuple[int, float, int]) -> dict[str, str]:
    """Give the buckets' values for (minutes, seconds a query took, queries a minute) in turn."""
    changes: dict[str, str | None] = {}
    for bound in (*_BOUNDS, "+Inf"):
        count, values = 0, ["0"]
        for minutes, seconds, queries in steps:
            for _ in range(minutes):
                count += queries * (seconds <= float(bound))
                values.append(str(count))
        changes[f'teeplugin_query_duration_seconds_bucket{{le="{bound}"}}'] = " ".join(values)
    return {name: values for name, values in changes.items() if values}


FAULT = 'teeplugin_tee_fault{cause="unreachable"}'
REFUSED = 'teeplugin_tee_fault{cause="refused"}'
OTHER_NODES_UP = 'up{node="node-2", instance="10.0.0.2:9840"}'
OTHER_NODES_UNIT = 'teeplugin_unit_bytes{node="node-2", instance="10.0.0.2:9840"}'

FIRES = (
    Fires(
        "a fault that stands for 3 minutes",
        "TeePluginTeeUnhealthy",
        9,
        {FAULT: "_x6 1x20", "teeplugin_allocatable_units": "2896x5 0x20"},
        labels={"cause": "unreachable"},
    ),
    Fires(
        "the TEE is not read for four intervals, and 5 minutes more",
        "TeePluginReadingStale",
        20,
        {"teeplugin_last_reading_timestamp_seconds": "0+60x10 600x30"},
        value="10m 0s",
    ),
    Fires(
        "every query takes 2 s",
        "TeePluginQuerySlow",
        11,
        durations((20, 2.0, 1)),
        value="2.35s",
    ),
    Fires(
        "the kubelet is away",
        "TeePluginNotRegistered",
        9,
        {"teeplugin_registered": "1x5 0x20"},
    ),
    Fires(
        "registered once a minute",
        "TeePluginRegistrationUnstable",
        10,
        {"teeplugin_registrations_total": "1x5 2+1x20"},
        value="5",
    ),
    Fires(
        "a controller makes a pod after each that was refused",
        "TeePluginAllocationsRefused",
        8,
        {'teeplugin_allocations_total{result="fault"}': "0x5 2+2x20"},
        value="6",
        labels={"result": "fault"},
    ),
    Fires(
        "ids that are not listed",
        "TeePluginAllocationsRefused",
        8,
        {'teeplugin_allocations_total{result="unknown_id"}': "0x5 2+2x20"},
        value="6",
        labels={"result": "unknown_id"},
    ),
    Fires(
        "pod-resources is not mounted",
        "TeePluginPodResourcesUnreadable",
        10,
        {"teeplugin_pod_resources_readable": "0x20"},
    ),
    Fires(
        "a shortage of 296 of 2,896 units",
        "TeePluginAllocatableShort",
        15,
        {
            "teeplugin_allocatable_units": "2600x20",
            'teeplugin_unhealthy_units{cause="shortage"}': "296x20",
        },
        value="10.22%",
    ),
    Fires(
        "150 of 1,448 MiB in use by others",
        "TeePluginExternalUseHigh",
        15,
        {"teeplugin_external_use_min_bytes": f"{150 * MIB}x20"},
        value="10.36%",
    ),
    Fires(
        "the TEE OS takes 100 MiB more than the reserve",
        "TeePluginReserveTooSmall",
        360,
        {"teeplugin_unallocated_use_min_bytes": f"{700 * MIB}x400"},
        value="100Mi",
    ),
    Fires(
        "another node with units of 1 MiB",
        "TeePluginUnitSizeDiffers",
        60,
        {OTHER_NODES_UNIT: f"{MIB}x70"},
        value="1Mi",
        labels={"resource": RESOURCE},
        bare=True,
    ),
    Fires(
        "the ConfigMap has a mistake",
        "TeePluginSettingsKept",
        11,
        {"teeplugin_config_last_reload_successful": "1x5 0x20"},
    ),
    Fires(
        "a restart of the TEE took two limits",
        "TeePluginLimitsUnset",
        8,
        {'teeplugin_limit_containers{state="unset"}': "0x5 2x20"},
        value="2",
        labels={"state": "unset"},
    ),
    Fires(
        "the runtime ignores CDI devices",
        "TeePluginContainersWithoutTee",
        16,
        {'teeplugin_limit_containers{state="unrecorded"}': "0x5 1x20"},
        value="1",
        labels={"state": "unrecorded"},
    ),
    Fires(
        "60 of 63 groups",
        "TeePluginLimitGroupsShort",
        11,
        {"teeplugin_limit_groups": "2x5 60x20"},
        value="60",
    ),
    Fires(
        "one of two plugins can't be scraped",
        "TeePluginTargetDown",
        11,
        {"up": "1x5 0x20", OTHER_NODES_UP: "1x30"},
        labels=TARGET,
        bare=True,
    ),
    Fires(
        "nobody ever scraped",
        "TeePluginAbsent",
        10,
        {"up": None},
        bare=True,
    ),
)
