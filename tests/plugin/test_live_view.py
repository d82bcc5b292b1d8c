"""The live view, driven in a real terminal: what it shows, what the keys do, and how it ends."""

import html
import re
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from teeplugin.simulator.live.controls import Controls
from teeplugin.simulator.stage import Setup, Stage
from tests.live_terminal import (
    CONTROL_BACKSLASH,
    CONTROL_C,
    CONTROL_D,
    CONTROL_S,
    CONTROL_Z,
    CURSOR_SHOWN,
    OTHER_SCREEN,
    OWN_SCREEN,
    LiveTerminal,
)
from tests.scratch import assert_nothing_left
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, PICTURE = DOCS / "simulate.md", DOCS / "live-view.svg"

ALL_FREE = "■ 0 allocated +□ 128 free +× 0 unhealthy"
READY = f"plugin registered(.|\n)*{ALL_FREE}"


def assert_given_back(terminal: LiveTerminal) -> None:
    """The terminal is as it was: its modes, its own screen, the cursor."""
    assert terminal.modes() == terminal.modes_before
    assert OTHER_SCREEN in terminal.written
    after = terminal.written.rpartition(OWN_SCREEN)
    assert after[1]
    assert OTHER_SCREEN not in after[2]
    assert CURSOR_SHOWN in terminal.written[terminal.written.rindex(OTHER_SCREEN) :]
    assert terminal.errors.read_text() == ""


def shown_by_the_picture(lines: Sequence[str]) -> bool:
    """Whether docs/live-view.svg has these lines: else run nox -s picture."""
    words = html.unescape(re.sub("<[^>]*>", "", PICTURE.read_text(encoding="utf-8"))).split()
    return all("".join(line.split()) in "".join(words) for line in lines)


def test_the_document_tells_every_key(tmp_path: Path) -> None:
    setup = Setup(total_bytes=1024**2, precision_kb=512, plugin=("true",))
    controls = Controls(Stage(setup, tmp_path))
    controls.pace.plays = True
    keys = {each.key for each in controls.offered()}
    table = (
        DOCUMENT.read_text(encoding="utf-8").partition("# The live view\n")[2].partition("\n#")[0]
    )
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall("`(.)`", "".join(cells))) == keys


# What it shows, and what the keys do


async def test_pods_are_admitted_and_removed(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.press("a")
        await terminal.shows("■ 10 allocated +□ 118 free")
        screen = await terminal.shows("plugin +default/pod-1 has 10 units")
        assert re.search("1 pod(.|\n)*pod-1 +10 (.|\n)*kubelet pod admitted: default/pod-1", screen)
        assert re.search("█ pods +5 MiB(.|\n)*░ free +59 MiB", screen)
        terminal.press("A")
        await terminal.shows("2 pods(.|\n)*pod-2 +32 ")
        await terminal.shows("■ 42 allocated +□ 86 free")
        terminal.press("r")
        await terminal.shows("1 pod(.|\n)*kubelet pod removed: default/pod-2")
        await terminal.shows("■ 10 allocated +□ 118 free")
        terminal.press("rr")
        await terminal.shows(f"{ALL_FREE}(.|\n)*there is no pod to remove")
        terminal.press("q")
        assert await terminal.ended() == 0
        assert_given_back(terminal)
    assert_nothing_left(scratch)


@pytest.mark.slow
async def test_others_use_makes_a_shortage_that_ends(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.press("a++")
        await terminal.shows("others +16 MiB")
        screen = await terminal.shows("■ 10 allocated +□ 86 free +× 32 unhealthy")
        assert "plugin  shortage: 32 units without free memory" in screen
        assert screen.count("×") == 32 + 1  # and one in the legend
        assert screen.count("■") == 10 + 1
        assert shown_by_the_picture(screen.splitlines()[-2:])
        terminal.press("---")
        await terminal.shows("others +0 B(.|\n)*played +others use 0 B")
        await terminal.shows("■ 10 allocated +□ 118 free +× 0 unhealthy")


async def test_why_a_pod_was_refused_is_shown_in_full(scratch: Path) -> None:
    with LiveTerminal(scratch, columns=80) as terminal:
        await terminal.shows(READY)
        terminal.press("w")
        await terminal.shows("─ why ─(.|\n)*no pod was refused yet")
        terminal.press("AAAAA")
        screen = await terminal.shows("pod refused: default/pod-5, Allocate failed")
        assert re.search("Requested: 32, Available: 0,(.|\n)*which is unexpected", screen)
        terminal.press("w")
        await terminal.shows("last events(.|\n)*w why a pod was refused")


async def test_the_units_of_the_last_minute_are_drawn(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows("last minute: healthy +█+ +allocated")
        terminal.press("AA")
        await terminal.shows("allocated +[ ▁▂▃]*▄")


async def test_a_scenario_is_paused_and_played_at_another_speed(scratch: Path) -> None:
    with LiveTerminal(scratch, "--scenario", "tour") as terminal:
        terminal.press("sss")
        await terminal.shows("s speed: paused")
        terminal.press("s")
        await terminal.shows("played +step 10, SIGTERM to the plugin: ok")


async def test_the_tee_is_broken_and_mended(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.press("at")
        screen = await terminal.shows("× 118 unhealthy +▣ 10 allocated, unhealthy")
        assert "TEE unreachable" in screen
        assert "t mend the TEE" in screen
        await terminal.shows("plugin +unreachable: a simulated fault, as the ")
        terminal.press("f")
        await terminal.shows("TEE refused(.|\n)*f fault: refused")
        terminal.press("a")
        await terminal.shows("kubelet pod refused: default/pod-2")
        terminal.press("t")
        await terminal.shows("TEE answers(.|\n)*■ 10 allocated +□ 118 free +× 0 unhealthy")
        await terminal.shows("plugin +the TEE answers again")


async def test_the_kubelet_and_the_plugin_are_broken_and_mended(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.press("ak")
        screen = await terminal.shows("kubelet stopped +plugin not registered")
        assert "k start the kubelet" in screen
        terminal.press("a")
        await terminal.shows("the kubelet is stopped: no pod can start or end")
        terminal.press("k")
        await terminal.shows("kubelet runs (.|\n)*■ 10 allocated +□ 118 free +× 0 unhealthy")
        terminal.press("p")
        await terminal.shows("plugin ended with exit 0(.|\n)*▣ 10 allocated, unhealthy")
        terminal.press("p")
        await terminal.shows("plugin registered(.|\n)*■ 10 allocated +□ 118 free +× 0 unhealthy")
        await terminal.shows("plugin +1 container had 10 units")


async def test_a_scenario_is_played_first_and_then_one_plays_on(scratch: Path) -> None:
    with LiveTerminal(scratch, "--scenario", "missing-device") as terminal:
        await terminal.shows("played +step 5, it comes back: ok, ")
        terminal.press("a")
        await terminal.shows("■ 20 allocated +□ 108 free(.|\n)*2 pods")
        terminal.press("q")
        assert await terminal.ended() == 0


async def test_a_scenario_that_failed_is_told_by_the_exit_status(
    scratch: Path, tmp_path: Path
) -> None:
    script = tmp_path / "wrong.yaml"
    script.write_text("steps: [{kubelet: start}, {expect: {registered: yes}, within: 0.1}]\n")
    with LiveTerminal(scratch, "--scenario", str(script)) as terminal:
        await terminal.shows("played +step 2, look: FAILED, expected huawei.com")
        terminal.press("q")
        assert await terminal.ended() == 1
        assert_given_back(terminal)


# The screen


async def test_it_fits_every_terminal_and_follows_its_size(scratch: Path) -> None:
    with LiveTerminal(scratch, columns=80, rows=24) as terminal:
        await terminal.shows(READY)
        screen = await terminal.shows("q quit")
        assert "last events" in screen
        for columns, rows in ((40, 12), (12, 4), (1, 1), (200, 60)):
            terminal.resize(columns, rows)
            terminal.press("a")
        screen = await terminal.shows("4 pods(.|\n)*pod-4 +10 (.|\n)*q quit")
        assert re.search("■ 40 allocated +□ 88 free", screen)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_colours_are_for_those_who_want_them(
    scratch: Path, environment: dict[str, str], *, coloured: bool
) -> None:
    with LiveTerminal(scratch, environment=environment) as terminal:
        await terminal.shows(READY)
        colours = {cell.fg for row in terminal.buffer.values() for cell in row.values()}
    assert ({"green", "red"} <= colours) is coloured


async def test_a_terminal_without_unicode_gets_plain_characters(scratch: Path) -> None:
    with LiveTerminal(scratch, environment={"PYTHONIOENCODING": "ascii"}) as terminal:
        await terminal.shows("# 0 allocated +. 128 free +x 0 unhealthy")
        terminal.press("a")
        await terminal.shows("# 10 allocated +. 118 free")
        terminal.press("q")
        assert await terminal.ended() == 0
        assert terminal.written.isascii()
        assert_given_back(terminal)


@pytest.mark.slow
async def test_226600_units_are_shown_several_by_one_mark(scratch: Path) -> None:
    with LiveTerminal(scratch, "--total", "113300MiB") as terminal:
        screen = await terminal.shows("□ 226600 free", 30)
        assert "one mark is 443" in screen


# Its ends


async def test_the_end_of_input_gives_the_terminal_back(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        assert terminal.modes() != terminal.modes_before
        terminal.press(CONTROL_D)
        assert await terminal.ended() == 0
        assert_given_back(terminal)
    assert_nothing_left(scratch)


async def test_control_c_gives_the_terminal_back(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.press(CONTROL_C)
        assert await terminal.ended() == 128 + signal.SIGINT
        assert "ended by SIGINT" in terminal.text()
        assert_given_back(terminal)
    assert_nothing_left(scratch)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
async def test_a_signal_gives_the_terminal_back(scratch: Path, number: signal.Signals) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.signal(number)
        assert await terminal.ended() == 128 + number
        assert f"ended by {number.name}" in terminal.text()
        assert_given_back(terminal)
    assert_nothing_left(scratch)


async def test_keys_that_would_leave_the_terminal_as_it_is_mean_nothing(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.press(CONTROL_Z + CONTROL_BACKSLASH + CONTROL_S)
        terminal.press("\x1b[A")  # an arrow, whose last letter would admit a pod
        terminal.press("zZ9 \n")
        terminal.press("a")
        await terminal.shows("■ 10 allocated +□ 118 free(.|\n)*1 pod")
        terminal.press("q")
        assert await terminal.ended() == 0
        assert_given_back(terminal)


async def test_a_bug_gives_the_terminal_back_before_it_is_told(
    scratch: Path, tmp_path: Path
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        textwrap.dedent("""
            from teeplugin.cli.main import main
            from teeplugin.simulator.live.controls import Controls

            async def press(self, key):
                raise RuntimeError("a bug")

            Controls.press = press
            raise SystemExit(main(["simulate", "--stay"]))
        """)
    )
    with LiveTerminal(scratch, command=(sys.executable, str(script))) as terminal:
        await terminal.shows(READY)
        terminal.press("a")
        assert await terminal.ended() == 1
        assert "RuntimeError: a bug" in terminal.errors.read_text()
        terminal.errors.write_text("")
        assert_given_back(terminal)
    assert_nothing_left(scratch)


async def test_a_terminal_that_is_closed_ends_it_quietly(scratch: Path) -> None:
    with LiveTerminal(scratch) as terminal:
        await terminal.shows(READY)
        terminal.close()
        assert await eventually("its end", terminal.process.poll, 10, until=lambda c: c is not None)
        assert terminal.errors.read_text() == ""
    assert_nothing_left(scratch)


async def test_a_plugin_that_cannot_be_run_gives_the_terminal_back(
    scratch: Path, tmp_path: Path
) -> None:
    program = tmp_path / "no-interpreter"
    program.write_text("just text")
    program.chmod(0o755)
    with LiveTerminal(scratch, "--plugin", str(program)) as terminal:
        assert await terminal.ended() == 2
        told = terminal.errors.read_text()
        assert told.count("\n") == 1
        assert "can't be run (Exec format error): give a program" in told
        terminal.errors.write_text("")
        assert_given_back(terminal)
    assert_nothing_left(scratch)
