"""What tee-limit counts on in the vendor's tool, asked of the mock, or of a real one with a TEE.

`nox -s tee_real -- /usr/lib64/libteec.so /usr/bin/tee_teleport` asks a real one, as root.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.limits import Container, Limits, container

REAL = os.environ.get("TEEPLUGIN_REAL_TELEPORT", "")
PARSED = "succeed to parse mem size config!\n"
NO_GROUP = 2_000_000_000

pytestmark = pytest.mark.only_root("makes pid namespaces, as a container's are")


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if REAL:
        return Path(REAL)
    need("compiler")
    limits = Limits(tmp_path_factory.mktemp("limit").resolve())
    limits.reset()
    return limits.tool


@pytest.fixture
def one() -> Iterator[Container]:
    with container() as running:
        yield running


def run(tool: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [tool, *words], env={}, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout


def configured(tool: Path, one: Container, memory: str) -> tuple[str, int]:
    """The output, and the group that it names."""
    words = ("--config-resource", f"--nsid={one.namespace}", f"--memory={memory}")
    _, output = run(tool, *words)
    (group,) = re.findall(r"^TeeRconfig ret is (-?[0-9]+)$", output, re.MULTILINE)
    return output, int(group)


def clean(tool: Path, group: int) -> tuple[int, str]:
    return run(tool, "--clean", f"--grpid={group}")


def test_an_amount_in_kib_is_understood_and_its_group_can_be_cleaned(
    tool: Path, one: Container
) -> None:
    output, group = configured(tool, one, "5120K")
    assert PARSED in output
    assert group >= 0
    status, output = clean(tool, group)
    assert (status, f"grp id is {group}\n" in output) == (0, True)
    assert "failed to clean" not in output


@pytest.mark.parametrize("memory", ["5242880", "1.5G", "K"])
def test_another_amount_is_not_and_looks_like_success_all_the_same(
    tool: Path, one: Container, memory: str
) -> None:
    output, group = configured(tool, one, memory)
    assert PARSED not in output
    if group >= 0:
        clean(tool, group)


def test_a_group_that_is_not_there_is_refused(tool: Path) -> None:
    status, output = clean(tool, NO_GROUP)
    assert status != 0
    assert "failed to clean" in output


def test_a_namespace_that_is_no_number_is_refused(tool: Path) -> None:
    status, output = run(tool, "--config-resource", "--nsid=x", "--memory=1K")
    assert status != 0
    assert "failed to parse nsid!" in output
    assert "TeeRconfig" not in output


@pytest.mark.parametrize("name", ["", "web", "g" * 64, "a" * 63, "a" * 65])
def test_secure_storage_wants_64_hexadecimal_digits(tool: Path, one: Container, name: str) -> None:
    words = ("--config-container", f"--nsid={one.namespace}", f"--containerid={name}")
    assert run(tool, *words)[0] != 0
