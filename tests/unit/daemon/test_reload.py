"""Reloads at moments that a process can't be brought to, and of every spoilt file."""

import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from teeplugin.config.settings import ConfigError, Settings
from teeplugin.config.sources import FlagValue, load, reloading
from teeplugin.daemon import reload
from teeplugin.daemon.reload import Reloader, Sources
from teeplugin.policy.device_list import DeviceList, IdSet, PublishedList
from teeplugin_backends.base import TeeMemory
from tests.unit.tee.watched_poller import GOOD, UNIT, Watched, events, watched
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_a_reserve_that_goes_between_a_reading_and_its_judgement_gives_no_unit_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Settings().model_copy(update={"reserve_bytes": UNIT})
    async with watched(reserve_bytes=UNIT) as at:
        await at.answer(GOOD)
        await at.listed(DeviceList(IdSet.first(7)))
        reloader = Reloader(kept, Sources(Settings), at.poller)
        asked = at.tee.asked

        async def refresh() -> bool:
            # After the backend was asked for its reserve, and before the policy is.
            if at.tee.asked == asked and not at.tee.outstanding:
                reloader.reload()
            return False

        monkeypatch.setattr(at.pod_resources, "refresh", refresh)
        listed: list[int] = []
        publish = at.latest_list.set

        def published(new: PublishedList | None) -> None:
            assert new is not None
            listed.append(len(new.device_list.ids))
            publish(new)

        monkeypatch.setattr(at.latest_list, "set", published)
        await at.answer(GOOD)
        await at.listed(DeviceList(IdSet.first(5)))
        assert listed == [5]


FIRST = f"reserve: {UNIT}\nhealth-interval: 3600\n"
KEPT = DeviceList(IdSet.first(7))


def is_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def is_forbidden(file: Path) -> None:
    file.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)


def is_whole_again(file: Path, text: str) -> None:
    os.seteuid(os.getuid())
    if file.is_dir():
        file.rmdir()
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "vanished": (Path.unlink, "can't be read (No such file or directory)"),
    "empty": (lambda file: file.write_text(""), "is empty"),
    "cut within a key": (
        lambda file: file.write_text(FIRST[:-15]),
        "line 2: ends without a line break",
    ),
    "cut within a value": (
        lambda file: file.write_text(FIRST[:-3]),
        "line 2: ends without a line break",
    ),
    "broken YAML": (lambda file: file.write_text("reserve: [\n"), "broken YAML"),
    "forbidden": (is_forbidden, "can't be read (Permission denied)"),
    "a directory": (is_a_directory, "not a regular file"),
    "not UTF-8": (lambda file: file.write_bytes(b"reserve: \xff\n"), "not UTF-8 in line 1"),
    "an invalid value": (
        lambda file: file.write_text("reserve: 4M\nprecision: 1\n"),
        "line 2: precision: 1: must be 512 or more",
    ),
    "no room": (lambda file: file.write_text(f"reserve: {8 * UNIT}\n"), "nothing is left"),
}


class Followed:
    """A plugin whose settings file is followed, with one unit in reserve and a query under way."""

    def __init__(self, at: Watched, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.file = at, file
        self.looks = self.reads = 0
        self.listed: list[int] = []
        flags = [FlagValue("config", "--config", str(file))]
        loaded = load(flags, {})
        load_again = reloading(loaded, flags, {})

        def counted() -> Settings:
            self.reads += 1
            return load_again().settings

        self.reloader = Reloader(loaded.settings, Sources(counted, file), at.poller)
        version, publish = reload._version, at.latest_list.set

        def looked(path: Path | None) -> object:
            self.looks += 1
            return version(path)

        def published(new: PublishedList | None) -> None:
            assert new is not None
            self.listed.append(len(new.device_list.ids))
            publish(new)

        monkeypatch.setattr(reload, "_version", looked)
        monkeypatch.setattr(reload, "LOOK_SECONDS", 0.001)
        monkeypatch.setattr(at.latest_list, "set", published)

    async def looked_again(self) -> None:
        before = self.looks
        await eventually("looks at the file", lambda: self.looks, until=lambda n: n > before + 3)

    async def reloads(self, by: str) -> None:
        """Have what has changed be noticed, and then looked at a few times more."""
        if by == "SIGHUP":
            self.reloader.reload()
        await self.looked_again()


@asynccontextmanager
async def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    file = tmp_path / "plugin.yaml"
    file.write_text(FIRST)
    async with watched(reserve_bytes=UNIT) as at, anyio.create_task_group() as tasks:
        plugin = Followed(at, file, monkeypatch)
        await at.answer(GOOD)
        await at.listed(KEPT)
        tasks.start_soon(plugin.reloader.follow_file)
        await plugin.looked_again()
        yield plugin
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("by", ["file watch", "SIGHUP"])
@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT.keys())
async def test_a_spoilt_file_loses_nothing_and_is_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], object],
    words: str,
    by: str,
) -> None:
    with capture_logs() as logs:
        async with followed(tmp_path, monkeypatch) as plugin:
            spoil(plugin.file)
            try:
                await plugin.reloads(by)
                assert words in (plugin.reloader.problem or "")
                assert events(logs).count("reload_rejected") == 1
                # The reading that was under way, and one more.
                await plugin.at.answer(GOOD)
                await plugin.at.answer(TeeMemory(8 * UNIT, 2 * UNIT))
            finally:
                is_whole_again(plugin.file, FIRST)
            assert plugin.listed == [7]
            await plugin.reloads(by)
            assert plugin.reloader.problem is None
            is_whole_again(plugin.file, f"reserve: {2 * UNIT}\nhealth-interval: 3600\n")
            await plugin.reloads(by)
            await plugin.at.answer(GOOD)
            await plugin.at.listed(DeviceList(IdSet.first(6)))
    told = [event for event in events(logs) if event.startswith(("reload", "settings"))]
    assert told == ["reload_rejected", "reload_recovered", "settings_changed"]


@pytest.mark.parametrize("by", ["file watch", "SIGHUP"])
async def test_one_change_is_reloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    with capture_logs() as logs:
        async with followed(tmp_path, monkeypatch) as plugin:
            is_whole_again(plugin.file, FIRST + "precision: 1024\n")
            await plugin.reloads(by)
            assert plugin.reloader.waiting == {"precision": "1024"}
            # Once at the start, as the file may have changed since it was read.
            assert plugin.reads == 2
            plugin.reloader.reload()
            is_whole_again(plugin.file, FIRST)
            await plugin.reloads(by)
            assert plugin.reloader.waiting == {}
    assert events(logs).count("settings_need_restart") == 1


@pytest.mark.parametrize("by", ["file watch", "SIGHUP"])
@pytest.mark.parametrize("what", ["no descriptors", "no room"])
async def test_a_hindrance_that_ends_while_the_file_stays_as_it_is_needs_no_change_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, by: str
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserve_units, words = {
        "no descriptors": (2, "can't be read (Too many open files)"),
        "no room": (8, "nothing is left"),
    }[what]
    with capture_logs() as logs:
        async with followed(tmp_path, monkeypatch) as plugin:
            is_whole_again(plugin.file, f"reserve: {reserve_units * UNIT}\nhealth-interval: 3600\n")
            if what == "no descriptors":
                resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
            try:
                await plugin.reloads(by)
                assert words in (plugin.reloader.problem or "")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await plugin.at.answer(TeeMemory(16 * UNIT, 16 * UNIT))
            await eventually("reloaded", lambda: plugin.reloader.problem is None)
            await plugin.at.answer(TeeMemory(16 * UNIT, 16 * UNIT))
            await plugin.at.listed(DeviceList(IdSet.first(16 - reserve_units)))
    told = [event for event in events(logs) if event.startswith(("reload", "settings"))]
    assert told == ["reload_rejected", "reload_recovered", "settings_changed"]


async def test_a_reserve_for_which_the_total_is_too_small_since_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logs:
        async with followed(tmp_path, monkeypatch) as plugin:
            # It fits the reading before, and not the one that is under way.
            is_whole_again(plugin.file, f"reserve: {4 * UNIT}\n")
            await plugin.reloads("SIGHUP")
            await plugin.at.answer(TeeMemory(4 * UNIT, UNIT))
            await plugin.at.listed(DeviceList(IdSet()))
    (entry,) = (entry for entry in logs if entry["event"] == "settings_do_not_fit")
    assert "--reserve 2MiB: nothing is left of the TEE's 2 MiB" in entry["problem"]


async def test_a_reserve_that_leaves_nothing_ends_the_start_though_it_came_by_a_reload() -> None:
    wanted = Settings().model_copy(update={"reserve_bytes": 8 * UNIT})
    with pytest.RaisesGroup(
        pytest.RaisesExc(ConfigError, match="nothing is left"), flatten_subgroups=True
    ):
        async with watched(reserve_bytes=0) as at:
            reloader = Reloader(Settings(), Sources(lambda: wanted), at.poller)
            assert reloader.reload()
            await at.answer(GOOD)
