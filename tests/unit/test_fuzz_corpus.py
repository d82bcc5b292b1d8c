"""What fuzzing keeps is replayed: valid inputs, and those that were once too much for a parser."""

import pytest

from tests.fuzz import target
from tests.fuzz.target import CORPUS, Target, run_limited
from tests.fuzz.targets import TARGETS

MAX_FILES = 20
MAX_BYTES = 2048


@pytest.mark.parametrize("each", TARGETS.values(), ids=TARGETS.keys())
def test_a_target_holds_on_each_input_of_its_corpus(each: Target) -> None:
    kept = sorted(each.corpus.iterdir())
    assert kept
    for path in kept:
        try:
            run_limited(each, path.read_bytes())
        except BaseException as error:
            error.add_note(f"with {path}")
            raise


@pytest.mark.parametrize("each", TARGETS.values(), ids=TARGETS.keys())
def test_a_corpus_is_small_enough_to_be_read(each: Target) -> None:
    sizes = {path.name: path.stat().st_size for path in each.corpus.iterdir()}
    assert 0 < len(sizes) <= MAX_FILES
    assert {name: size for name, size in sizes.items() if size >= MAX_BYTES} == {}


def test_every_corpus_is_a_target_s() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


# That the replay can fail at all: the limits are what finds a hang.


def test_an_input_that_takes_too_long_is_a_finding() -> None:
    def spin(_: bytes) -> None:
        while True:
            pass

    with pytest.raises(target.TooSlowError, match="more than 1 s"):
        run_limited(Target("spins", spin), b"")


def test_an_input_that_takes_too_much_memory_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([10**9, 10**9 + target.MAX_GROWTH_BYTES + 1])
    monkeypatch.setattr(target, "_peak_bytes", lambda: next(peaks))
    with pytest.raises(target.TooLargeError, match="256 MiB"):
        run_limited(Target("grows", lambda _: None), b"")


def test_what_isn_t_documented_is_a_finding() -> None:
    with pytest.raises(ZeroDivisionError):
        run_limited(Target("divides", lambda data: print(1 // len(data))), b"")
