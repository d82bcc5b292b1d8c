"""The three pages of a running plugin: all well, the kubelet away, the TEE hung, at the end."""

import importlib.util
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from time import time

import pytest
from hyperframe.frame import SettingsFrame, WindowUpdateFrame
from prometheus_client.parser import text_string_to_metric_families

from tests import http2_wire as wire
from tests.contract.under_test import Simulated
from tests.http import ANY_PORT, Response, get, telemetry_of
from tests.plugin_process import UNIT_BYTES
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

UNITS = 128


def samples(page: Response) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels, but for the resource that all of ours have."""
    return {
        (sample.name, frozenset(sample.labels.items() - {("resource", "huawei.com/tee-ram")})): (
            sample.value
        )
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


async def figures(address: str) -> dict[str, float]:
    """The metrics without labels of their own."""
    found = samples(await get(address, "/metrics"))
    return {name: value for (name, labels), value in found.items() if not labels}


async def test_all_is_well(kubelet: Simulated, tmp_path: Path) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        live, ready = await get(address, "/livez"), await get(address, "/readyz")
        assert (live.status, live.text) == (
            200,
            "[+]loop: ok\n[+]query: ok\n[+]socket: ok\nlivez: ok\n",
        )
        assert (ready.status, ready.text) == (
            200,
            "[+]running: ok\n[+]tee: ok\n[+]registered: ok\nreadyz: ok\n",
        )


async def test_metrics_tell_what_the_kubelets_records_tell(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        for pod, units in (("one", 10), ("two", 3)):
            await kubelet.admit(pod, units)
        plugin.play(pods=13 * UNIT_BYTES, others=20 * UNIT_BYTES)

        async def allocated() -> dict[str, float]:
            found = samples(await get(address, "/metrics"))
            return {
                dict(labels)["pod"]: value
                for (name, labels), value in found.items()
                if name == "teeplugin_container_allocated_units"
            }

        shown = await eventually("both pods", allocated, until=lambda now: len(now) == 2)
        assert shown == {pod: len(await kubelet.allocated(pod)) for pod in ("one", "two")}
        now = await eventually(
            "the shortage",
            lambda: figures(address),
            until=lambda now: now["teeplugin_allocatable_units"] == UNITS - 20,
        )
        assert now["teeplugin_unit_bytes"] == UNIT_BYTES
        assert now["teeplugin_capacity_units"] == UNITS
        assert now["teeplugin_allocated_units"] == 13
        assert now["teeplugin_tee_total_bytes"] == UNITS * UNIT_BYTES
        assert now["teeplugin_tee_free_bytes"] == (UNITS - 33) * UNIT_BYTES
        assert now["teeplugin_external_use_min_bytes"] == 20 * UNIT_BYTES
        assert now["teeplugin_unallocated_use_min_bytes"] == 0
        assert now["teeplugin_registered"] == now["teeplugin_watch_streams"] == 1
        assert now["teeplugin_registrations_total"] == 1
        assert now["teeplugin_pod_resources_readable"] == 1
        assert now["teeplugin_query_duration_seconds_count"] > 0
        found = samples(await get(address, "/metrics"))
        assert found["teeplugin_unhealthy_units", frozenset({("cause", "shortage")})] == 20
        assert found["teeplugin_allocations_total", frozenset({("result", "ok")})] == 2


async def test_every_metric_has_the_resource_and_a_name_by_the_rules(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        page = await get(await telemetry_of(plugin), "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(page.text))
    assert max(Counter(family.name for family in families).values()) == 1
    for family in families:
        assert family.documentation
        if family.name.startswith("process_"):
            continue
        assert family.name.startswith("teeplugin_")
        assert {sample.labels["resource"] for sample in family.samples} <= {"huawei.com/tee-ram"}
        totals = {sample.name.endswith("_total") for sample in family.samples}
        assert totals <= {family.type == "counter"}


async def test_while_the_kubelet_is_away_it_is_live_and_not_ready(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        await kubelet.stop()
        ready = await eventually(
            "not ready", lambda: get(address, "/readyz"), until=lambda page: page.status == 503
        )
        assert "[+]tee: ok\n[-]registered: " in ready.text
        assert (await get(address, "/livez")).status == 200
        await eventually(
            "told by the metrics",
            lambda: figures(address),
            until=lambda now: now["teeplugin_registered"] == 0,
        )
        await kubelet.start()
        await eventually(
            "ready", lambda: get(address, "/readyz"), until=lambda page: page.status == 200
        )


async def test_a_tee_that_fails_is_named_and_one_that_hangs_changes_nothing_at_once(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        plugin.play(fault="unreachable")
        await kubelet.has(0)
        ready = await get(address, "/readyz")
        assert ready.status == 503
        assert "[-]tee: unreachable: " in ready.text
        found = samples(await get(address, "/metrics"))
        assert found["teeplugin_tee_fault", frozenset({("cause", "unreachable")})] == 1
        assert found["teeplugin_unhealthy_units", frozenset({("cause", "unreachable")})] == UNITS
        plugin.play(fault="none")
        await kubelet.has(UNITS)
        plugin.play(fault="hang")
        # Else there were a reading each 0.1 s.
        await eventually(
            "a query hangs",
            lambda: figures(address),
            until=lambda now: time() - now["teeplugin_last_reading_timestamp_seconds"] > 0.5,
        )
        for path in ("/livez", "/readyz", "/status"):
            assert (await get(address, path)).status == 200


async def test_a_tee_that_hangs_from_the_start_is_waited_for_and_told(
    kubelet: Simulated, tmp_path: Path
) -> None:
    plugin = kubelet.plugin(tmp_path, listen=ANY_PORT)
    plugin.play(fault="hang")
    with plugin:
        address = await telemetry_of(plugin)
        ready = await get(address, "/readyz")
        assert ready.status == 503
        assert "[-]tee: it has not answered yet\n" in ready.text
        assert "[-]registered: the TEE has not answered yet" in ready.text
        assert (await get(address, "/livez")).status == 200
        assert (await get(address, "/metrics")).status == 200


async def test_at_its_end_it_is_not_ready(kubelet: Simulated, tmp_path: Path) -> None:
    units = 20_000
    with kubelet.plugin(tmp_path, listen=ANY_PORT, units=units) as plugin:
        await kubelet.has(units)
        address = await telemetry_of(plugin)
        (own,) = kubelet.device_plugins_dir.glob("tee-ram-*.sock")
        # A client that doesn't take its list keeps the end waiting for its second.
        async with wire.connected(own) as mute:
            wide = WindowUpdateFrame(0, window_increment=2**30).serialize()
            large = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**30})
            watch = wire.call(1, "ListAndWatch")
            await mute.send(wire.PREFACE + large.serialize() + wide + watch)
            await eventually("as much as a socket takes", lambda: mute.unread_bytes > 100_000)
            plugin.signal(signal.SIGTERM)
            ready = await eventually(
                "not ready", lambda: get(address, "/readyz"), until=lambda page: page.status == 503
            )
        assert "[-]running: the plugin is shutting down\n" in ready.text
        assert plugin.wait(2) == 0


@pytest.mark.slow
async def test_an_address_that_is_taken_is_told_and_taken_over_when_free(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with kubelet.plugin(tmp_path, listen=address) as plugin:
            await kubelet.has(UNITS)
            entry = await plugin.logged("telemetry_unavailable")
            assert (entry["address"], entry["error"]) == (address, "Address already in use")
            taken.close()
            assert await telemetry_of(plugin) == address
            assert plugin.count("telemetry_unavailable") == 1


async def test_neither_rich_nor_the_simulator_is_loaded(kubelet: Simulated, tmp_path: Path) -> None:
    plugin = kubelet.plugin(tmp_path, listen=ANY_PORT)
    at = plugin.command.index(sys.executable) + 1
    plugin.command[at:at] = ["-X", "importtime"]
    with plugin:
        await kubelet.has(UNITS)
        await get(await telemetry_of(plugin), "/metrics")
    lines = [line for line in plugin.log.read_text().splitlines() if "|" in line]
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert {"structlog.dev", "teeplugin.telemetry.metrics"} <= loaded
    assert importlib.util.find_spec("rich") is not None  # else this would prove nothing
    # Its bare name stands there as well where it was looked for in vain.
    assert not [name for name in loaded if name.startswith("rich.")]
    assert not [name for name in loaded if name.startswith("teeplugin.simulator")]
