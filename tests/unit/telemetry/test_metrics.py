"""Each metric's value, from parts that are set by hand."""

from prometheus_client.parser import text_string_to_metric_families

from teeplugin.daemon.parts import PluginParts
from teeplugin.telemetry.metrics import Metrics
from teeplugin_backends.base import TEE_ERRORS
from tests.running_parts import UNIT_BYTES, running_in_full, running_parts


def values(parts: PluginParts) -> dict[str, dict[str, float]]:
    """Every sample of ours: by name, and by its labels but the resource, joined."""
    found: dict[str, dict[str, float]] = {}
    text = Metrics(parts).exposition().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = " ".join(text for name, text in sample.labels.items() if name != "resource")
            found.setdefault(sample.name.removeprefix("teeplugin_"), {})[labels] = sample.value
    return found


def test_before_the_first_reading_nothing_is_invented() -> None:
    found = values(running_parts())
    assert found["capacity_units"] == found["allocatable_units"] == {"": 0}
    assert found["unhealthy_units"] == {"shortage": 0}
    assert found["registered"] == found["pod_resources_readable"] == {"": 0}
    assert found["queries_total"] == dict.fromkeys(("ok", *(kind.kind for kind in TEE_ERRORS)), 0)
    unknown = {"allocated_units", "tee_total_bytes", "tee_free_bytes", "external_use_min_bytes"}
    assert unknown & found.keys() == set()
    assert "reserve_bytes" not in found  # the backend's own is known from its first reading


def test_units_and_memory_are_told_as_they_are() -> None:
    found = values(running_in_full())
    assert found["unit_bytes"] == {"": UNIT_BYTES}
    assert found["capacity_units"] == {"": 128}
    assert found["allocatable_units"] == {"": 0}
    assert found["allocated_units"] == {"": 13}
    assert found["unhealthy_units"] == {"shortage": 0, "busy": 128}
    assert found["tee_fault"] == {"busy": 1}
    assert found["tee_free_bytes"] == {"": 95 * UNIT_BYTES}
    # 33 units are taken, the pods may use 13 of them.
    assert found["external_use_min_bytes"] == {"": 20 * UNIT_BYTES}
    assert found["unallocated_use_min_bytes"] == {"": 5 * UNIT_BYTES}
    counted = {result: count for result, count in found["queries_total"].items() if count}
    assert counted == {"ok": 1, "busy": 1}
    assert found["backend_events_total"] == {"helper_killed": 2}


def test_limits_are_told_where_the_tee_sets_some() -> None:
    found = values(running_in_full())
    assert found["limit_containers"] == {"limited": 1, "unset": 1, "unrecorded": 0}
    assert found["limit_groups"] == {"": 3}
    assert found["limit_groups_max"] == {"": 63}
    assert found["limit_last_reconcile_timestamp_seconds"] == {"": 1_800_000_000}
    assert not any(name.startswith("limit_") for name in values(running_parts()))


def test_containers_of_one_name_are_added_up() -> None:
    found = values(running_in_full())
    assert found["container_allocated_units"] == {"ca default one": 11, "ca kube-system two": 2}


def test_the_histogram_counts_up_to_each_bound() -> None:
    parts = running_parts()
    for seconds in (0.001, 0.005, 0.02, 30.0):
        parts.poller.queries.seconds.add(seconds)
    found = values(parts)
    buckets = found["query_duration_seconds_bucket"]
    assert (buckets["0.005"], buckets["0.01"], buckets["0.025"]) == (2, 2, 3)
    assert (buckets["10.0"], buckets["+Inf"]) == (3, 4)
    assert found["query_duration_seconds_count"] == {"": 4}
    assert found["query_duration_seconds_sum"][""] == 30.026
