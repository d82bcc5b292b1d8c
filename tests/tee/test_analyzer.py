"""What gcc's static analyzer says of the C parts: leaks, overruns, NULL, on every path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT, BuildError, make

# The Makefiles make an error of every warning. Where functions are inlined, more paths are seen.
LEVELS = ("-O0", "-O2")

WRONG = """\
#include <stdlib.h>
void twice(char *memory);
void twice(char *memory)
{
    free(memory);
    free(memory);
}
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def compiler() -> None:
    need("compiler")


def analyse_ca(folder: Path, level: str, *more: str) -> str:
    settings = [f"OUT={folder}", f"OBJ={folder}/obj", f"CFLAGS=-fanalyzer {level}", *more]
    # Fortified functions want -O1 at least; what they check isn't what is looked for here.
    return make(ROOT / "ca", [*settings, "HARDENING="])


@pytest.mark.parametrize("level", LEVELS)
def test_it_finds_nothing_in_the_client_library(tmp_path: Path, level: str) -> None:
    assert "-fanalyzer" in analyse_ca(tmp_path, level)


@pytest.mark.parametrize("level", LEVELS)
def test_it_finds_nothing_in_the_trusted_application(tmp_path: Path, level: str) -> None:
    target = f"{tmp_path}/obj/itrustee/tee_memory.o"
    said = make(HERE, [f"OUT={tmp_path}", f"TA_DEFINES=-fanalyzer {level}", target])
    assert "-fanalyzer" in said


def test_it_would_find_what_is_freed_twice(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text(WRONG)
    target = f"{tmp_path}/obj/itrustee/tee_memory.o"
    with pytest.raises(BuildError, match="double-free"):
        make(HERE, [f"OUT={tmp_path}", f"TA_DEFINES=-fanalyzer -include {wrong}", target])
