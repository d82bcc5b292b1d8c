"""What must not raise an alert."""

from __future__ import annotations

from tests.monitoring.scenarios import (
    FAULT,
    MIB,
    OTHER_NODES_UNIT,
    OTHER_NODES_UP,
    REFUSED,
    Quiet,
    durations,
)

QUIET = (
    Quiet(
        "the TEE restarts, and limits are set again",
        "TeePluginLimitsUnset",
        20,
        {'teeplugin_limit_containers{state="unset"}': "0x5 2 0x20"},
    ),
    Quiet(
        "an image is pulled for 8 minutes",
        "TeePluginContainersWithoutTee",
        20,
        {'teeplugin_limit_containers{state="unrecorded"}': "0x5 1x8 0x20"},
    ),
    Quiet("50 containers", "TeePluginLimitGroupsShort", 20, {"teeplugin_limit_groups": "50x20"}),
    Quiet("seen at one scrape", "TeePluginTeeUnhealthy", 20, {FAULT: "_x6 1 stale"}),
    Quiet(
        "the TEE's daemon restarts",
        "TeePluginTeeUnhealthy",
        20,
        {FAULT: "_x6 1 stale", REFUSED: "_x7 1 stale"},
    ),
    Quiet(
        "an interval of 10 minutes",
        "TeePluginReadingStale",
        60,
        {
            "teeplugin_health_interval_seconds": "600x60",
            "teeplugin_last_reading_timestamp_seconds": "1x9 600x9 1200x9 1800x9 2400x9 3000x15",
        },
    ),
    Quiet(
        "health checks are off",
        "TeePluginReadingStale",
        120,
        {
            "teeplugin_health_interval_seconds": "0x120",
            "teeplugin_last_reading_timestamp_seconds": "30x120",
        },
    ),
    Quiet(
        "never read, which is a fault",
        "TeePluginReadingStale",
        60,
        {"teeplugin_last_reading_timestamp_seconds": "0x60"},
    ),
    Quiet(
        "a fault stands, which has its own alert",
        "TeePluginReadingStale",
        60,
        {
            FAULT: "_x6 1x60",
            "teeplugin_last_reading_timestamp_seconds": "0+60x5 300x60",
        },
        instead=frozenset({"TeePluginTeeUnhealthy"}),
    ),
    Quiet(
        "one of twenty queries takes 2 s",
        "TeePluginQuerySlow",
        60,
        durations(*((19, 0.02, 1), (1, 2.0, 1)) * 3),
    ),
    Quiet(
        "a fault of time-outs, and the quarter of an hour after it",
        "TeePluginQuerySlow",
        60,
        {FAULT: "_x2 1x28 stale", **durations((30, 10.5, 4), (30, 0.02, 1))},
        instead=frozenset({"TeePluginTeeUnhealthy"}),
    ),
    Quiet(
        "the kubelet restarts within 3 minutes",
        "TeePluginNotRegistered",
        20,
        {"teeplugin_registered": "1x5 0x2 1x20"},
    ),
    Quiet(
        "the kubelet restarts four times in a quarter of an hour",
        "TeePluginRegistrationUnstable",
        30,
        {"teeplugin_registrations_total": "1x5 2x2 3x2 4x2 5x20"},
    ),
    Quiet(
        "a few pods at the beginning of a fault",
        "TeePluginAllocationsRefused",
        30,
        {'teeplugin_allocations_total{result="fault"}': "0x5 2 4x30"},
    ),
    Quiet(
        "many pods that are served",
        "TeePluginAllocationsRefused",
        30,
        {'teeplugin_allocations_total{result="ok"}': "0+10x30"},
    ),
    Quiet(
        "readable again within 10 minutes",
        "TeePluginPodResourcesUnreadable",
        30,
        {"teeplugin_pod_resources_readable": "1x5 0x9 1x20"},
    ),
    Quiet(
        "a shortage of under a tenth",
        "TeePluginAllocatableShort",
        60,
        {
            "teeplugin_allocatable_units": "2610x60",
            'teeplugin_unhealthy_units{cause="shortage"}': "286x60",
        },
    ),
    Quiet(
        "a fault takes all units, and has its own alert",
        "TeePluginAllocatableShort",
        60,
        {FAULT: "1x60", "teeplugin_allocatable_units": "0x60"},
        instead=frozenset({"TeePluginTeeUnhealthy"}),
    ),
    Quiet(
        "nothing is listed yet",
        "TeePluginAllocatableShort",
        60,
        {"teeplugin_allocatable_units": "0x60", "teeplugin_capacity_units": "0x60"},
    ),
    Quiet(
        "140 of 1,448 MiB in use by others",
        "TeePluginExternalUseHigh",
        60,
        {"teeplugin_external_use_min_bytes": f"{140 * MIB}x60"},
    ),
    Quiet(
        "an hour of use by others, every other quarter",
        "TeePluginExternalUseHigh",
        60,
        {"teeplugin_external_use_min_bytes": f"{160 * MIB}x13 0x14 {160 * MIB}x13 0x20"},
    ),
    Quiet(
        "more than the reserve by one unit",
        "TeePluginReserveTooSmall",
        420,
        {"teeplugin_unallocated_use_min_bytes": f"{600 * MIB + 524288}x420"},
    ),
    Quiet(
        "an application that ends before 6 hours",
        "TeePluginReserveTooSmall",
        420,
        {"teeplugin_unallocated_use_min_bytes": f"{700 * MIB}x358 {450 * MIB}x100"},
    ),
    Quiet(
        "a roll-out of another precision within the hour",
        "TeePluginUnitSizeDiffers",
        120,
        {OTHER_NODES_UNIT: f"524288x5 {MIB}x120", "teeplugin_unit_bytes": f"524288x50 {MIB}x80"},
    ),
    Quiet(
        "another resource with other units",
        "TeePluginUnitSizeDiffers",
        120,
        {'teeplugin_unit_bytes{resource="huawei.com/tee-ram-1m"}': f"{MIB}x120"},
    ),
    Quiet(
        "a mistake that is mended within 5 minutes",
        "TeePluginSettingsKept",
        30,
        {"teeplugin_config_last_reload_successful": "1x5 0x4 1x20"},
    ),
    Quiet(
        "the pod restarts within 5 minutes",
        "TeePluginTargetDown",
        30,
        {"up": "1x5 0x4 1x30"},
    ),
    Quiet(
        "one of two plugins is scraped",
        "TeePluginAbsent",
        60,
        {"up": "0x60", OTHER_NODES_UP: "1x60"},
        instead=frozenset({"TeePluginTargetDown"}),
    ),
    Quiet(
        "all pods restart within 10 minutes", "TeePluginAbsent", 60, {"up": "1x5 stale _x8 1x60"}
    ),
)
