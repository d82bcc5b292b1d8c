"""The simulated TEE keeps every promise; of backends that break one, the kit says which."""

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import anyio
import pytest

from teeplugin_backends.base import (
    TEE_ERRORS,
    ContainerAccess,
    Refused,
    TeeError,
    TeeMemory,
    Unreachable,
)
from teeplugin_backends.conformance import BackendConformance, played, resources, running, suite
from teeplugin_backends.conformance.rules import ContractViolationError
from teeplugin_backends.simulated import SimulatedTee
from tests.unit.backends.broken_backends import (
    BROKEN,
    MEMORY,
    BlocksTheLoop,
    Giving,
    NeverEnds,
    Right,
    tee,
)


class TestSimulatedTee(BackendConformance):
    backend = SimulatedTee
    name = "simulated"
    kinds = TEE_ERRORS
    bad_options = (
        {"total": "much"},
        {"latency": "-1"},
        {"fault": "tired"},
        {"access": "all"},
    )
    expected_memory = TeeMemory(total_bytes=1024**3, free_bytes=1023 * 1024**2)
    expected_access = ContainerAccess()

    @pytest.fixture(autouse=True)
    def state_file(self, tmp_path: Path) -> None:
        self.state = tmp_path / "state"

    def options(self) -> dict[str, str]:
        return {"total": "1GiB", "others": "1MiB", "state": str(self.state)}

    def tee_is_well(self) -> None:
        self.state.write_text("fault=none")

    def tee_fails(self, kind: type[TeeError]) -> None:
        self.state.write_text(f"fault={kind.kind}")

    def tee_hangs(self) -> None:
        self.state.write_text("fault=hang")

    async def until_it_hangs(self) -> None:
        await anyio.wait_all_tasks_blocked()


class Fake(BackendConformance):
    """The kit as somebody would use it for the backends that are made for these tests."""

    backend = Right
    name = "fake"
    kinds = (Unreachable, Refused)
    bad_options = ({"limit": "soon"},)
    expected_memory = MEMORY
    expected_access = Right().access()

    def tee_is_well(self) -> None:
        tee.play()

    def tee_fails(self, kind: type[TeeError]) -> None:
        tee.play(kind)

    def tee_hangs(self) -> None:
        tee.play(hangs=True)

    async def until_it_hangs(self) -> None:
        await anyio.wait_all_tasks_blocked()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the kit wait for nothing that never comes longer than it must."""
    monkeypatch.setattr(running, "BLOCKED_SECONDS", 1.0)
    monkeypatch.setattr(resources, "_LEAVE_SECONDS", 0.5)
    monkeypatch.setattr(played, "QUERY_SECONDS", 1.0)
    monkeypatch.setattr(suite, "LOOK_SECONDS", 0.5)
    yield
    tee.end()


def failures(backend: type[Right]) -> Mapping[str, str]:
    """Run all checks but that of the entry point: those that fail, with what each says."""
    expected = None if issubclass(backend, Giving) else Fake.expected_access
    kit = type("Kit", (Fake,), {"backend": backend, "expected_access": expected})()
    found: dict[str, str] = {}
    for name, check in inspect.getmembers(kit, inspect.ismethod):
        if not name.startswith("test_") or name == "test_its_entry_point_leads_to_it":
            continue
        by_kind = "kind" in inspect.signature(check).parameters
        for parameters in [{"kind": kind} for kind in kit.kinds] if by_kind else [{}]:
            try:
                check(**parameters)
            except ContractViolationError as error:
                found.setdefault(name, str(error))
    return found


def test_a_backend_that_keeps_its_promises_fails_nothing() -> None:
    assert failures(Right) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("backend", "expected"), BROKEN, ids=[backend.__name__ for backend, _ in BROKEN]
)
def test_a_broken_promise_fails_its_check_and_no_other(
    backend: type[Right], expected: Mapping[str, str]
) -> None:
    found = failures(backend)
    assert set(found) == set(expected)
    for name, words in expected.items():
        assert words in found[name]


def test_every_check_is_one_that_a_broken_backend_fails() -> None:
    checks = {name for name in dir(BackendConformance) if name.startswith("test_")}
    failed = {name for _, expected in BROKEN for name in expected}
    assert checks - failed == {"test_its_entry_point_leads_to_it"}


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_query_that_cancellation_doesnt_end_is_told_and_left_behind() -> None:
    class Kit(Fake):
        backend = NeverEnds

    with pytest.raises(ContractViolationError, match=r"went on for over 0\.5 s"):
        Kit().test_a_query_that_hangs_ends_at_once_when_it_is_cancelled()


@pytest.mark.usefixtures("impatient")
def test_a_loop_that_is_blocked_is_told_with_the_line() -> None:
    class Kit(Fake):
        backend = BlocksTheLoop

    with pytest.raises(ContractViolationError, match=r"stood still for 1 s at .*fake\.py:\d+"):
        Kit().test_a_query_that_hangs_ends_at_once_when_it_is_cancelled()


def test_an_entry_point_that_is_missing_or_leads_elsewhere_is_told() -> None:
    with pytest.raises(ContractViolationError, match="--backend fake leads to nothing"):
        Fake().test_its_entry_point_leads_to_it()

    class Kit(Fake):
        name = "simulated"

    with pytest.raises(
        ContractViolationError, match=r"--backend simulated leads to .*SimulatedTee"
    ):
        Kit().test_its_entry_point_leads_to_it()


def test_a_tee_that_should_hang_and_doesnt_is_told() -> None:
    class Kit(Fake):
        def tee_hangs(self) -> None:
            tee.play()

    with pytest.raises(ContractViolationError, match=r"tee_hangs\(\) doesn't: memory\(\) came to"):
        Kit().test_it_answers_again_after_a_query_that_hung()


def test_a_tee_that_should_hang_and_fails_instead_is_told() -> None:
    class Kit(Fake):
        def tee_hangs(self) -> None:
            tee.play(Refused)

    with pytest.raises(ContractViolationError, match=r"Refused\(.* instead of waiting"):
        Kit().test_it_answers_again_after_a_query_that_hung()


@pytest.mark.slow
def test_a_subclass_that_names_no_fault_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from teeplugin_backends.conformance import BackendConformance\n"
        "class TestIt(BackendConformance):\n"
        "    kinds = ()\n"
        "    def tee_is_well(self): ...\n"
        "    def tee_fails(self, kind): ...\n"
        "    def tee_hangs(self): ...\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_it.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "TestIt.kinds is empty: name at least one kind" in ran.stdout


def test_the_kit_brings_no_pytest_along() -> None:
    program = "import sys, teeplugin_backends.conformance; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
