"""The arithmetic: more never takes less, and the units cover it by less than one too many."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.commands.sizing.description import PAGE_BYTES
from teeplugin.commands.sizing.memory import (
    CONTAINER,
    Certainty,
    Load,
    PartName,
    Rounded,
    page_up,
    parts_of,
    total_bytes,
    units_for,
)
from teeplugin.commands.sizing.precision import least_waste_precision_kb, wasted_bytes
from teeplugin.policy.units import KIB, MIN_PRECISION_KB, units_in

SIZES = st.integers(1024, 2**32 - 1)
LOADS = st.builds(
    Load,
    heap_bytes=SIZES,
    stack_bytes=SIZES,
    single_instance=st.booleans(),
    multi_session=st.booleans(),
    sessions=st.integers(1, 100),
    code_bytes=st.none() | st.integers(1, 10**6).map(lambda pages: pages * PAGE_BYTES),
)
UNITS = st.integers(MIN_PRECISION_KB, 2**20).map(lambda precision_kb: precision_kb * KIB)
GROWING = ("heap_bytes", "stack_bytes", "sessions")


def needed(load: Load) -> int:
    return total_bytes(parts_of(load)) + CONTAINER.size_bytes


@given(LOADS, st.sampled_from(GROWING), st.integers(0, 2**32))
def test_more_heap_stack_or_sessions_never_take_less(load: Load, grows: str, more: int) -> None:
    larger = dataclasses.replace(load, **{grows: getattr(load, grows) + more})
    assert needed(larger) >= needed(load)


@given(LOADS)
def test_multi_session_never_takes_less(load: Load) -> None:
    without = dataclasses.replace(load, multi_session=False)
    assert needed(dataclasses.replace(load, multi_session=True)) >= needed(without)


@given(LOADS)
def test_each_session_of_a_multi_instance_ta_takes_as_much_as_the_first(load: Load) -> None:
    each = dataclasses.replace(load, single_instance=False, sessions=1)
    both = dataclasses.replace(load, single_instance=False)
    assert total_bytes(parts_of(both)) == load.sessions * total_bytes(parts_of(each))


@given(LOADS)
def test_every_part_is_whole_pages(load: Load) -> None:
    parts = parts_of(load)
    assert all(part.size_bytes > 0 and part.size_bytes % PAGE_BYTES == 0 for part in parts)
    assert CONTAINER.size_bytes % PAGE_BYTES == 0


@given(LOADS)
def test_code_is_read_where_its_binary_is_given_and_else_assumed(load: Load) -> None:
    code = [part for part in parts_of(load) if part.name is PartName.CODE]
    assert bool(code) == (load.code_bytes is not None)
    assert all(part.certainty is Certainty.READ for part in code)
    assumed = [part for part in parts_of(load) if "without its binary" in part.formula]
    assert len(assumed) == (load.code_bytes is None)


@given(st.integers(0, 2**40))
def test_pages_cover_the_bytes_and_never_a_page_too_many(size_bytes: int) -> None:
    assert 0 <= page_up(size_bytes) - size_bytes < PAGE_BYTES


@given(LOADS, UNITS)
def test_the_units_cover_the_bytes_and_never_a_unit_too_many(load: Load, unit_bytes: int) -> None:
    rounded = Rounded(needed(load), unit_bytes)
    assert 0 <= rounded.rounding_bytes < unit_bytes
    assert rounded.units * unit_bytes == rounded.needed_bytes + rounded.rounding_bytes
    # What the plugin lists for the memory that is asked for is what is asked for.
    assert units_in(rounded.asked_bytes, unit_bytes) == rounded.units
    assert 0 <= rounded.waste_percent <= 100


@given(st.lists(st.integers(1, 300 * 512 * KIB), min_size=1, max_size=3))
def test_no_precision_wastes_less_than_the_one_that_is_named(sizes: list[int]) -> None:
    best_kb = least_waste_precision_kb(sizes)
    least = wasted_bytes(sizes, best_kb)
    assert best_kb >= MIN_PRECISION_KB
    coarsest_kb = max(MIN_PRECISION_KB, max(sizes) // KIB + 1)
    # A sample of the others, which are too many: all that are near, and steps through the rest.
    others = {*range(512, 640), *range(512, coarsest_kb + 1, max(1, coarsest_kb // 200))}
    assert all(wasted_bytes(sizes, each) >= least for each in others)
    assert all(wasted_bytes(sizes, each) > least for each in others if each < best_kb)


@pytest.mark.parametrize(
    ("sizes_kib", "precision_kb"),
    [
        ([600], 600),
        ([100], 512),  # none may be finer
        ([1024], 512),
        ([600, 1200], 600),
        ([600, 900], 600),  # 0 + 300 KB; 512 wastes 424 + 124, and 900 wastes 300 as well
        ([1000, 1700, 2600], 567),  # 134 + 1 + 235 KB; 520 wastes 40 + 380 + 0
    ],
)
def test_the_precision_that_wastes_least_by_hand(sizes_kib: list[int], precision_kb: int) -> None:
    assert least_waste_precision_kb([size * KIB for size in sizes_kib]) == precision_kb


def test_the_largest_container_takes_no_time_to_compare_precisions() -> None:
    sizes = [(2**32 - 1) * 4 - 77_777_777 * at for at in range(64)]
    assert least_waste_precision_kb(sizes) >= MIN_PRECISION_KB


def test_nothing_needs_no_units() -> None:
    assert (units_for(0, 512 * KIB), Rounded(0, 512 * KIB).waste_percent) == (0, 0.0)
