"""The live view of a backend of one's own: its readings, and why units are short or unhealthy."""

import re
from pathlib import Path

import pytest

from tests.live_terminal import LiveTerminal

pytestmark = pytest.mark.anyio


async def test_a_fault_of_a_backend_of_ones_own_is_shown_with_its_fix(
    scratch: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_text("others=4MiB\n")
    flags = ("--backend", "simulated", "--backend-option", f"state={state}")
    node = ("--backend-option", "total=64MiB", "--host-root", str(tmp_path))
    with LiveTerminal(scratch, *flags, *node, columns=80) as terminal:
        screen = await terminal.shows("× 8 unhealthy +│")
        assert "on a simulated node, backend simulated" in screen
        assert re.search("▓ used +4 MiB(.|\n)*░ free +60 MiB", screen)
        terminal.press("w")
        await terminal.shows("8 units short: 4 MiB used (.|\n)*--reserve 4MiB")
        terminal.press("w")
        await terminal.shows("w why units are short")
        state.write_text("fault=unreachable\n")
        await terminal.shows("TEE memory ─(.|\n)*unknown: no reading")
        await terminal.shows("w the fault and its fix")
        terminal.press("w")
        await terminal.shows("unreachable: a simulated fault(.|\n)*fix: (.|\n)*no pod was refused")
        state.write_text("others=0\n")
        screen = await terminal.shows("─ why ─+╮\n[^:\n]*no pod was refused yet")
        assert "fix:" not in screen
