"""The Prometheus metrics, made from the parts at each scrape, so that none outlives its subject."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from teeplugin.daemon.parts import PluginParts
from teeplugin.kubelet.device_plugin_service import ALLOCATION_RESULTS
from teeplugin.policy.decide import SHORTAGE
from teeplugin_backends.base import TEE_ERRORS

if TYPE_CHECKING:
    from teeplugin.dra.parts import DraParts

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """What `/metrics` answers for one running plugin."""

    def __init__(self, parts: PluginParts) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(PluginCollector(parts))
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class PluginCollector(Collector):
    """Reads the parts; every metric has the label `resource`, as a node may have two plugins."""

    def __init__(self, parts: PluginParts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family as it is now."""
        yield from self._about()
        yield from self._units()
        yield from self._tee_memory()
        yield from self._queries()
        yield from self._kubelet()
        dra = self._parts.dra
        yield from self._device_plugin() if dra is None else self._dra(dra)
        yield from self._pod_resources()
        yield from self._limits()

    def describe(self) -> Iterator[Metric]:
        """Name none in advance, so that registering asks for no values."""
        return iter(())

    def _gauge(self, name: str, text: str, value: float | None) -> Iterator[Metric]:
        """One number; nothing where it isn't known yet."""
        if value is not None:
            yield from self._gauges(name, text, (), {(): value})

    def _gauges(
        self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]
    ) -> Iterator[Metric]:
        family = GaugeMetricFamily(f"teeplugin_{name}", text, labels=("resource", *labels))
        for given, value in values.items():
            family.add_metric((self._parts.resource, *given), value)
        yield family

    def _counter(
        self,
        name: str,
        text: str,
        values: Mapping[str, int] | int,
        label: str | None = None,
    ) -> Iterator[Metric]:
        labels = ("resource", label) if label else ("resource",)
        family = CounterMetricFamily(f"teeplugin_{name}", text, labels=labels)
        if isinstance(values, int):
            family.add_metric((self._parts.resource,), values)
        else:
            for given, value in values.items():
                family.add_metric((self._parts.resource, given), value)
        yield family

    def _about(self) -> Iterator[Metric]:
        parts = self._parts
        yield from self._gauges(
            "build_info",
            "The plugin's version and its backend; always 1.",
            ("version", "backend"),
            {(parts.version, parts.backend): 1},
        )
        yield from self._gauges(
            "tee_info",
            "The versions behind the backend, by part; always 1.",
            ("part", "version"),
            dict.fromkeys(parts.tee_versions().items(), 1),
        )
        policy_settings = parts.poller.policy_settings
        yield from self._gauge("unit_bytes", "Memory of one unit.", policy_settings.unit_bytes)
        yield from self._gauge(
            "health_interval_seconds",
            "Seconds between two queries of the TEE; 0: at the start only.",
            policy_settings.interval_seconds,
        )

        yield from self._gauge(
            "config_last_reload_successful",
            "0 if the last reload found invalid settings.",
            parts.reloader.problem is None,
        )
        yield from self._gauge(
            "settings_need_restart",
            "Number of settings whose new value needs a restart.",
            len(parts.reloader.waiting),
        )

    def _units(self) -> Iterator[Metric]:
        published_list, decision = self._parts.latest_list.value, self._parts.poller.decision
        device_list = self._parts.device_list
        listed, unhealthy = len(device_list.ids), len(device_list.unhealthy)
        allocated = self._parts.pod_resources.allocated
        yield from self._gauge("capacity_units", "Listed units.", listed)
        yield from self._gauge(
            "allocatable_units", "Listed units that are healthy.", listed - unhealthy
        )
        yield from self._gauge(
            "allocated_units",
            "Units that pods hold; absent while unknown.",
            None if allocated is None else len(allocated),
        )
        yield from self._gauges(
            "unhealthy_units",
            "Listed units that are unhealthy, by cause.",
            ("cause",),
            {(SHORTAGE,): 0} | {(decision.unhealthy_kind,): unhealthy},
        )
        yield from self._gauges(
            "tee_fault",
            "1 during a confirmed fault of the TEE, by cause.",
            ("cause",),
            {(decision.cause.kind,): 1} if decision.cause else {},
        )
        yield from self._gauge(
            "frame_bytes",
            "Size of the list as it is sent to the kubelet.",
            len(published_list.frame) if published_list else 0,
        )
        yield from self._counter(
            "list_changes",
            "Device lists made; streams skip lists that a newer one replaced.",
            self._parts.poller.list_changes,
        )

    def _tee_memory(self) -> Iterator[Metric]:
        poller = self._parts.poller
        memory, policy_settings = poller.decision.memory, poller.policy_settings
        if memory is None:
            return
        reserve_bytes = policy_settings.reserve_bytes or 0
        yield from self._gauge("tee_total_bytes", "The TEE's memory.", memory.total_bytes)
        yield from self._gauge(
            "tee_free_bytes", "The TEE's free memory at the last reading.", memory.free_bytes
        )
        yield from self._gauge("reserve_bytes", "Memory kept for the TEE OS.", reserve_bytes)
        yield from self._gauge(
            "external_use_min_bytes",
            "Lower bound of the TEE memory used outside the reserve and the units of pods.",
            poller.external_use_min_bytes,
        )
        yield from self._gauge(
            "unallocated_use_min_bytes",
            "Smallest use of TEE memory since the start while pods held no units; if it exceeds "
            "the reserve, the reserve is too small.",
            poller.unallocated_use_min_bytes,
        )

        yield from self._gauges(
            "application_bytes",
            "Memory of a trusted application at the last reading, where known.",
            ("application",),
            {(name,): used for name, used in self._parts.tee_applications().items()},
        )

    def _queries(self) -> Iterator[Metric]:
        queries = self._parts.poller.queries
        seconds = HistogramMetricFamily(
            "teeplugin_query_duration_seconds",
            "Duration of queries of the TEE.",
            labels=("resource",),
        )
        seconds.add_metric(
            (self._parts.resource,),
            buckets=queries.seconds.cumulative(),
            sum_value=queries.seconds.sum,
        )
        yield seconds
        yield from self._counter(
            "queries",
            "Queries of the TEE, by result.",
            {"ok": 0} | {kind.kind: 0 for kind in TEE_ERRORS} | queries.results,
            "result",
        )
        yield from self._gauge(
            "last_reading_timestamp_seconds",
            "Time of the TEE's last reading; 0: never.",
            queries.last_reading,
        )
        yield from self._counter(
            "backend_events",
            "Events that the backend counts.",
            self._parts.backend_counters(),
            "event",
        )

    def _kubelet(self) -> Iterator[Metric]:
        registration = self._parts.registration
        yield from self._gauge(
            "registered",
            "1 while the kubelet watches the plugin's list, or has the DRA driver registered.",
            registration.status.not_registered_reason is None,
        )
        yield from self._counter(
            "registrations", "Successful registrations.", registration.status.registrations
        )
        yield from self._counter(
            "registration_failures", "Failed registrations.", registration.status.failures
        )

    def _device_plugin(self) -> Iterator[Metric]:
        yield from self._gauge(
            "watch_streams", "Open ListAndWatch streams.", len(self._parts.watch_streams)
        )
        yield from self._counter(
            "allocations",
            "Allocate calls, by result.",
            dict.fromkeys(ALLOCATION_RESULTS, 0) | self._parts.service.allocations,
            "result",
        )

    def _dra(self, dra: "DraParts") -> Iterator[Metric]:
        driver, publisher = dra.driver, dra.publisher
        yield from self._counter(
            "claim_preparations",
            "Attempts to prepare a claim, by result.",
            driver.preparations,
            "result",
        )
        yield from self._counter(
            "claim_unpreparations", "Unprepared claims.", driver.unpreparations
        )
        yield from self._gauge(
            "slice_capacity_bytes",
            "Memory of the node's ResourceSlice in the API server; absent while there is none.",
            publisher.stored_bytes,
        )
        yield from self._counter(
            "slice_publications", "ResourceSlices written.", publisher.publications
        )
        yield from self._counter(
            "api_server_failures", "Failed requests to the API server.", publisher.failures
        )
        yield from self._gauge(
            "api_server_reachable",
            "1 if the last request to the API server succeeded.",
            publisher.error is None,
        )
        yield from self._gauge(
            "node_served",
            "0 while a feature gate or the container runtime keeps claims from this node.",
            publisher.problem is None,
        )

    def _pod_resources(self) -> Iterator[Metric]:
        pod_resources = self._parts.pod_resources
        yield from self._gauge(
            "pod_resources_readable",
            "1 if the last read of the kubelet's allocation records succeeded.",
            pod_resources.reads.readable,
        )
        yield from self._counter(
            "pod_resources_reads",
            "Reads of the kubelet's allocation records, by result.",
            {"ok": 0, "failed": 0} | pod_resources.reads.results,
            "result",
        )
        yield from self._gauge(
            "pod_resources_last_read_timestamp_seconds",
            "Time of the last read of the kubelet's allocation records; 0: never.",
            pod_resources.reads.last,
        )
        # Added up: a pod that ends and its successor may have one name.
        allocated = Counter[tuple[str, ...]]()
        for holder in pod_resources.holders or ():
            allocated[holder.namespace, holder.pod, holder.container] += len(holder.ids)
        yield from self._gauges(
            "container_allocated_units",
            "Units that a container holds, by the kubelet's allocation records.",
            ("namespace", "pod", "container"),
            allocated,
        )

    def _limits(self) -> Iterator[Metric]:
        limits = self._parts.limits
        if limits is None or limits.seen is None:
            return
        seen = limits.seen
        yield from self._gauges(
            "limit_containers",
            "Containers that hold units, by the state of their limit in the TEE.",
            ("state",),
            {
                ("limited",): seen.limited,
                ("unset",): seen.unset,
                ("unrecorded",): limits.unrecorded,
            },
        )
        yield from self._gauge(
            "limit_groups", "Upper bound of the TEE's groups in use.", seen.groups
        )
        yield from self._gauge(
            "limit_groups_max", "Number of containers that the TEE can limit.", limits.most
        )
        yield from self._gauge(
            "limit_last_reconcile_timestamp_seconds",
            "Time when the host service last compared containers and limits; 0: never.",
            seen.reconciled or 0,
        )
