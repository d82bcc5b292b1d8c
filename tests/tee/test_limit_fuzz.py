"""Container states and the tool's outputs, mutated, parsed under sanitizers.

`TEEPLUGIN_FUZZ_SECONDS=600` runs for longer, with another seed each time.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT

SECONDS = int(os.environ.get("TEEPLUGIN_FUZZ_SECONDS", "2"))

pytestmark = pytest.mark.timeout(SECONDS + 120)


def test_no_state_and_no_output_is_read_beyond_its_end(tmp_path: Path) -> None:
    need("compiler")
    program = tmp_path / "limit_fuzz"
    sources = [str(path) for path in sorted((ROOT / "ca").glob("tee_limit*.c"))]
    subprocess.run(
        [
            *("gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-Dmain=tee_limit_main", "-c", "-I", str(ROOT / "ca"), *sources),
        ],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    objects = [str(path) for path in sorted(tmp_path.glob("*.o"))]
    subprocess.run(
        [
            *("gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *("-I", str(ROOT / "ca"), str(HERE / "limit_fuzz.c"), *objects, "-o", str(program)),
        ],
        check=True,
        timeout=120,
    )
    seed = str(secrets.randbelow(1 << 30)) if SECONDS > 2 else "19"
    log = tmp_path / "sanitizer"
    ended = subprocess.run(
        [program, str(SECONDS), seed],
        env={"ASAN_OPTIONS": f"log_path={log}", "UBSAN_OPTIONS": f"log_path={log}"},
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
        check=False,
    )
    said = "".join(path.read_text() for path in tmp_path.glob("sanitizer*"))
    assert ended.returncode == 0, f"seed {seed}: {said}"
    print(f"seed {seed}: {ended.stdout}")
    tried, states, outputs = map(int, re.findall(r"\d+", ended.stdout))
    assert tried > 1000
    assert 0 < states < tried
    assert 0 < outputs < tried
