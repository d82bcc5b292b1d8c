"""Where our socket is put: nowhere that others could exchange it for theirs."""

import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from teeplugin.kubelet import directory_safety
from teeplugin.kubelet import endpoint as endpoint_module
from teeplugin.kubelet import registration as registration_module
from teeplugin.kubelet.directory_safety import UnsafeDirectoryError, weakness_of
from teeplugin.kubelet.endpoint import Endpoint, ServedSocket
from tests.in_process import registering
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

SOMEBODY = 4711
LIBRARY = "/var/lib/kubelet"
PLUGINS = f"{LIBRARY}/device-plugins"


@pytest.fixture
def directory(kubelet_dir: Path) -> Path:
    return kubelet_dir / "device-plugins"


def seen(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def folder(permissions: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    return seen(stat.S_IFDIR | permissions, uid, gid)


def link(uid: int = 0) -> os.stat_result:
    return seen(stat.S_IFLNK | 0o777, uid)


USUAL = {
    "/": folder(0o755),
    "/var": folder(0o755),
    "/var/lib": folder(0o755),
    LIBRARY: folder(0o750),
    PLUGINS: folder(0o750),
}


def on_the_way(monkeypatch: pytest.MonkeyPatch, way: dict[str, os.stat_result]) -> None:
    """Have the plugin be root and see this on its way."""
    steps = [(Path(path), status) for path, status in way.items()]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(directory_safety, "_way_to", lambda _: iter(steps))


# Which directory is safe


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {PLUGINS: folder(0o755)},
        {PLUGINS: folder(0o700)},
        {LIBRARY: folder(0o755)},
        {LIBRARY: link(), PLUGINS: folder(0o750)},
        {"/var": folder(0o1777)},
        {"/var": folder(0o1775, gid=50)},
    ],
    ids=["750", "755", "700", "a parent of 755", "a link of root's", "like /tmp", "sticky group"],
)
def test_a_real_kubelets_directory_is_safe(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, os.stat_result]
) -> None:
    on_the_way(monkeypatch, USUAL | changed)
    assert weakness_of(Path(PLUGINS)) is None


@pytest.mark.parametrize(
    ("changed", "value", "fix"),
    [
        ({PLUGINS: folder(0o777)}, f"{PLUGINS} is drwxrwxrwx", f"chmod go-w {PLUGINS}"),
        ({PLUGINS: folder(0o770)}, f"{PLUGINS} is drwxrwx---", f"chmod go-w {PLUGINS}"),
        ({PLUGINS: folder(0o752)}, f"{PLUGINS} is drwxr-x-w-", f"chmod go-w {PLUGINS}"),
        ({PLUGINS: folder(0o1777)}, f"{PLUGINS} is drwxrwxrwt", f"chmod go-w {PLUGINS}"),
        ({LIBRARY: folder(0o775)}, f"{LIBRARY} is drwxrwxr-x", f"chmod go-w {LIBRARY}"),
        ({"/": folder(0o777)}, "/ is drwxrwxrwx", "chmod go-w /"),
        (
            {PLUGINS: folder(0o700, SOMEBODY)},
            f"{PLUGINS} belongs to uid {SOMEBODY}",
            f"chown -h root {PLUGINS}",
        ),
        (
            {LIBRARY: folder(0o755, SOMEBODY)},
            f"{LIBRARY} belongs to uid {SOMEBODY}",
            f"chown -h root {LIBRARY}",
        ),
        # Whose a sticky directory is may rename everything in it.
        (
            {"/var": folder(0o1777, SOMEBODY)},
            f"/var belongs to uid {SOMEBODY}",
            "chown -h root /var",
        ),
        ({LIBRARY: link(SOMEBODY)}, f"{LIBRARY} belongs to uid", f"chown -h root {LIBRARY}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_directory_that_others_can_change_is_told_with_its_rule_and_fix(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, os.stat_result], value: str, fix: str
) -> None:
    on_the_way(monkeypatch, USUAL | changed)
    weakness = weakness_of(Path(PLUGINS))
    assert weakness is not None
    assert weakness.problem.startswith(value)
    assert ": must be " in weakness.problem
    assert weakness.fix.endswith(fix)


def test_a_user_may_have_directories_of_their_own_and_of_a_group_to_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = folder(0o775, SOMEBODY, SOMEBODY)
    on_the_way(monkeypatch, USUAL | {LIBRARY: mine, PLUGINS: mine})
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert weakness_of(Path(PLUGINS)) is None
    others = folder(0o775, SOMEBODY, SOMEBODY + 1)
    on_the_way(monkeypatch, USUAL | {LIBRARY: mine, PLUGINS: others})
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    weakness = weakness_of(Path(PLUGINS))
    assert weakness is not None
    assert weakness.problem.startswith(f"{PLUGINS} is drwxrwxr-x")


NOBODY = 65534


@pytest.mark.parametrize(
    ("uid_map", "path", "is_safe"),
    [
        ("0 1000 1\n", "/", True),
        ("0 1000 1\n", PLUGINS, False),
        ("0 0 4294967295\n", "/", False),
        ("", "/", False),
    ],
)
def test_in_a_sandbox_the_machines_root_may_own_what_is_on_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid_map: str, path: str, *, is_safe: bool
) -> None:
    on_the_way(monkeypatch, USUAL | {path: folder(0o755, NOBODY)})
    map_file, overflow = tmp_path / "uid_map", tmp_path / "overflowuid"
    overflow.write_text(f"{NOBODY}\n")
    if uid_map:
        map_file.write_text(uid_map)
    monkeypatch.setattr(directory_safety, "_UID_MAP", map_file)
    monkeypatch.setattr(directory_safety, "_OVERFLOW_UID", overflow)
    assert (weakness_of(Path(PLUGINS)) is None) == is_safe


# The way there, on real files


def test_links_are_passed_as_the_kernel_passes_them(kubelet_dir: Path) -> None:
    disk, links = kubelet_dir / "disk", kubelet_dir / "links"
    (disk / "device-plugins").mkdir(parents=True)
    links.mkdir()
    (links / "relative").symlink_to("../disk")
    (links / "absolute").symlink_to(links / "relative")
    for name in ("relative", "absolute"):
        way = [step for step, _ in directory_safety._way_to(links / name / "device-plugins")]
        assert way[0] == Path("/")
        assert way[-1].samefile(disk / "device-plugins")
        assert {links, links / "relative", disk} <= set(way)
    assert links / "absolute" in way
    assert weakness_of(links / "absolute" / "device-plugins") is None


def test_what_a_link_leads_to_has_to_be_safe(kubelet_dir: Path) -> None:
    disk = kubelet_dir / "disk"
    (disk / "kubelet").mkdir(parents=True)
    disk.chmod(0o777)
    (kubelet_dir / "link").symlink_to(disk / "kubelet")
    weakness = weakness_of(kubelet_dir / "link")
    assert weakness is not None
    assert weakness.problem.startswith(f"{disk} is drwxrwxrwx")


def test_links_in_a_circle_are_an_os_error(kubelet_dir: Path) -> None:
    (kubelet_dir / "a").symlink_to("b")
    (kubelet_dir / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        weakness_of(kubelet_dir / "a")


# The endpoint and the registration


async def test_in_an_unsafe_directory_nothing_is_removed_and_nothing_bound(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.chmod(0o772)
    monkeypatch.setattr(endpoint_module, "remove_stale_sockets", pytest.fail)
    async with registering(directory) as ours:
        await eventually(
            "the not_registered_reason",
            lambda: "must be" in str(ours.registration.status.not_registered_reason),
        )
        assert list(directory.iterdir()) == []


async def test_an_unsafe_directory_is_waited_for_until_it_is_mended(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_module, "LISTEN_SECONDS", 0.01)
    directory.chmod(0o777)
    with capture_logs() as logs:
        async with registering(directory) as ours:
            await eventually("tries", lambda: ours.registration.status.failures > 2)
            assert not ours.endpoint.in_place
            directory.chmod(0o755)
            await eventually("our socket", lambda: ours.endpoint.in_place)
    (told,) = [one for one in logs if one["event"] == "not_registered" and "error" in one]
    assert told["error"] == (
        f"{directory} is drwxrwxrwx: must be writable for its owner only, or other users could "
        f"impersonate the plugin: chmod go-w {directory}"
    )


async def test_a_link_at_our_sockets_path_is_not_followed(
    directory: Path, kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registering(directory) as ours:
        await eventually("our socket", lambda: ours.endpoint.in_place)
        endpoint = Endpoint(
            directory=directory, service=ours.endpoint._service, watch_streams=ours.streams
        )
        # As if the link came after the look at what is there.
        monkeypatch.setattr(ServedSocket, "rename", lambda _: None)
        endpoint.path.symlink_to(kubelet_dir / "target")
        with pytest.raises(OSError, match="Address already in use"):
            await endpoint.open()
        assert not (kubelet_dir / "target").exists()
        assert endpoint.path.is_symlink()


def test_the_error_is_one_of_permissions() -> None:
    assert str(UnsafeDirectoryError("a: b")) == "a: b"
    assert issubclass(UnsafeDirectoryError, PermissionError)
