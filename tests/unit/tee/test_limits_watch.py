"""What the plugin reports of limits that others set."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from teeplugin.policy.limits import DIRECTORY, Limits, parse
from teeplugin.tee.limits_watch import START_SECONDS, LimitsWatch


class Node:
    """A node's root, with what the hook and the host service leave there."""

    def __init__(self, root: Path) -> None:
        self.directory = root / DIRECTORY.lstrip("/")
        self.holders: int | None = 0
        self.watch = LimitsWatch(root, lambda: self.holders, lambda: 63)
        self.now = 0.0

    def record(self, limited: int, unset: int = 0, unknown: int = 0) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        text = f"limited={limited}\nunset={unset}\nunknown={unknown}\n"
        (self.directory / "summary").write_text(text)

    def look(self, after_seconds: float = 0) -> list[str]:
        """Look again, and give the events that were logged."""
        self.now += after_seconds
        with capture_logs() as logs:
            self.watch.look(self.now)
        assert all(entry.get("fix", "x") for entry in logs)
        return [entry["event"] for entry in logs]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_before_the_first_hook_nobody_is_limited_and_nothing_is_wrong(node: Node) -> None:
    assert node.look() == []
    assert node.watch.seen == Limits()


def test_what_the_hook_and_the_service_wrote_is_seen(node: Node) -> None:
    node.record(3, 1, 2)
    (node.directory / "reconciled").write_text("time=1800000000\nproblem=teecd is not running\n")
    node.look()
    assert node.watch.seen == Limits(3, 1, 2, 1_800_000_000, "teecd is not running")
    assert node.watch.seen.groups == 5


def test_limits_that_a_restart_took_are_told_once_and_so_is_their_return(node: Node) -> None:
    node.record(2)
    assert node.look() == []
    node.record(0, 2)
    assert node.look() == ["limits_unset"]
    assert node.look() == []
    node.record(2)
    assert node.look() == ["limits_set"]
    assert node.look() == []


def test_a_container_that_never_got_a_limit_is_told_after_a_minute(node: Node) -> None:
    node.holders = 2
    node.record(1)
    assert node.look() == []
    assert node.look(START_SECONDS - 1) == []
    assert node.watch.unrecorded == 0
    assert node.look(1) == ["containers_without_tee"]
    assert node.watch.unrecorded == 1
    assert node.look(START_SECONDS) == []
    node.record(2)
    assert node.look() == []
    assert node.watch.unrecorded == 0


def test_a_container_that_only_starts_slowly_is_not(node: Node) -> None:
    node.holders = 1
    node.look()
    node.record(1)
    node.look(START_SECONDS - 1)
    node.holders = 2
    assert node.look(START_SECONDS) == []


def test_while_nobody_knows_who_holds_units_nothing_is_missing(node: Node) -> None:
    node.holders = None
    node.record(0)
    node.look()
    assert node.look(START_SECONDS) == []


@pytest.mark.parametrize("content", ["limited=x\n", "limited=-1\n", "limited=" + "9" * 20])
def test_a_summary_that_is_none_is_told_once(node: Node, content: str) -> None:
    node.record(1)
    (node.directory / "summary").write_text(content)
    assert node.look() == ["limits_unreadable"]
    assert node.look() == []
    assert node.watch.seen is None
    node.record(1)
    assert node.look() == ["limits_readable"]


def test_a_file_in_place_of_the_directory_is_told(node: Node) -> None:
    node.directory.parent.mkdir()
    node.directory.touch()
    assert node.look() == ["limits_unreadable"]


@given(st.text(), st.text())
def test_any_content_is_read_or_refused(summary: str, reconciled: str) -> None:
    try:
        assert parse(summary, reconciled).groups >= 0
    except ValueError as error:
        assert "is no number" in str(error)  # noqa: PT017 - both ends are good
