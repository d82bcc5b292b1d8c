"""The conformance kit tells its own slowness, and what nobody can end, from a backend's fault."""

from types import FrameType, SimpleNamespace
from typing import Any, cast

import pytest

from teeplugin_backends.conformance import resources
from teeplugin_backends.conformance.resources import Process, Resources
from teeplugin_backends.conformance.running import is_own_work, run

RUN = "teeplugin_backends.conformance.running"
KIT, BACKEND = "teeplugin_backends.conformance.suite", "acme_tee.backend"


def frame_in(*modules: str) -> FrameType:
    """Make the frames of calls from one module to the next: the innermost one."""
    frame: Any = None
    for name in modules:
        code = run.__code__ if name == RUN else None
        frame = SimpleNamespace(f_globals={"__name__": name}, f_back=frame, f_code=code)
    return cast("FrameType", frame)


@pytest.mark.parametrize(
    ("modules", "own"),
    [
        ((KIT,), True),
        ((KIT, "asyncio.base_events", "os"), True),
        ((KIT, BACKEND), False),
        # It waits for a loop that does not close.
        ((KIT, RUN, "anyio", "asyncio.runners", "selectors"), False),
        ((KIT, RUN, "anyio", "asyncio.runners", KIT), True),
        ((KIT, BACKEND, "subprocess", "selectors"), False),
        ((BACKEND, "anyio.to_thread"), False),
        (("asyncio.runners",), False),
    ],
)
def test_who_holds_the_loop_is_told_by_the_innermost_code(
    modules: tuple[str, ...], *, own: bool
) -> None:
    assert is_own_work(frame_in(*modules)) is own


def process(pid: int, *, stuck: bool) -> Process:
    return Process(pid, 1, "helper", 1, is_dead=False, is_stuck=stuck)


def test_a_process_that_nobody_can_end_is_not_left_by_the_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = Resources(frozenset(), frozenset(), frozenset())
    for stuck, left in ((True, []), (False, ["process 7 (helper)"])):
        seen = frozenset({process(7, stuck=stuck)})
        assert Resources(frozenset(), frozenset(), seen).names_since(nothing, only_more=False) == (
            left
        )
        monkeypatch.setattr(resources, "_all_processes", lambda seen=seen: iter(seen))
        monkeypatch.setattr(Resources, "now", classmethod(lambda _: nothing))
        assert resources._left(nothing, seen, only_more=False) == left
        monkeypatch.undo()
