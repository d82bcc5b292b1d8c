from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from teeplugin.api.deviceplugin.v1beta1 import Device, ListAndWatchResponse
from teeplugin.policy.device_list import DeviceList, DeviceListEncoder, IdSet
from teeplugin.policy.units import KUBELET_MESSAGE_BYTES, MAX_UNITS

IDS = st.sets(st.integers(0, 3000), max_size=60)


@given(IDS)
def test_a_set_of_ids_holds_what_was_put_in(ids: set[int]) -> None:
    id_set = IdSet.of(ids)
    assert list(id_set) == sorted(ids)
    assert len(id_set) == len(ids)
    assert all((device_id in id_set) == (device_id in ids) for device_id in range(3002))
    assert id_set.end == max(ids, default=-1) + 1


@given(IDS)
def test_runs_neither_touch_nor_overlap(ids: set[int]) -> None:
    runs = IdSet.of(ids).runs
    assert all(len(run) > 0 for run in runs)
    assert all(left.stop < right.start for left, right in pairwise(runs))


@given(IDS, IDS)
def test_set_operations_equal_those_of_builtin_sets(left: set[int], right: set[int]) -> None:
    one, other = IdSet.of(left), IdSet.of(right)
    assert one | other == IdSet.of(left | right)
    assert one & other == IdSet.of(left & right)
    assert one - other == IdSet.of(left - right)


@given(IDS, st.integers(0, 70))
def test_highest_and_lowest_take_from_the_ends(ids: set[int], count: int) -> None:
    ordered = sorted(ids)
    assert list(IdSet.of(ids).lowest(count)) == ordered[:count]
    assert list(IdSet.of(ids).highest(count)) == ordered[max(0, len(ordered) - count) :]


def _serialized(device_list: DeviceList, unhealthy: str) -> bytes:
    return bytes(
        ListAndWatchResponse(
            devices=[
                Device(
                    id=str(device_id),
                    health=unhealthy if device_id in device_list.unhealthy else "Healthy",
                )
                for device_id in device_list.ids
            ]
        )
    )


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 1_500), st.sets(st.integers(0, 1_499), max_size=20))
@example(10_001, {9_999, 10_000})
@example(0, set())
@example(1, {0})
@example(11, {9, 10})
@example(1_001, {999, 1_000})
def test_frames_equal_what_the_generated_classes_serialize(count: int, marked: set[int]) -> None:
    ids = IdSet.first(count)
    encoder = DeviceListEncoder()
    for unhealthy in (IdSet(), IdSet.of(marked) & ids, ids):
        device_list = DeviceList(ids, unhealthy)
        assert encoder.encode(device_list) == _serialized(device_list, "Unhealthy")


@given(IDS, IDS)
def test_lists_with_gaps_are_encoded_as_well(ids: set[int], marked: set[int]) -> None:
    device_list = DeviceList(IdSet.of(ids), IdSet.of(marked & ids))
    assert DeviceListEncoder().encode(device_list) == _serialized(device_list, "Unhealthy")


@settings(max_examples=20)
@given(st.lists(st.integers(0, 1_100), min_size=2, max_size=4))
def test_one_encoder_serves_lists_that_grow_and_shrink(counts: list[int]) -> None:
    encoder = DeviceListEncoder()
    for count in counts:
        device_list = DeviceList(IdSet.first(count))
        assert encoder.encode(device_list) == _serialized(device_list, "Unhealthy")


@pytest.mark.parametrize("count", [205_019, 205_020, 220_000, MAX_UNITS])
def test_long_lists_fit_the_kubelets_message_in_every_state(count: int) -> None:
    ids, encoder = IdSet.first(count), DeviceListEncoder()
    half = IdSet.of(range(0, count, 20)) | IdSet.of(range(count // 2, count))
    for unhealthy in (IdSet(), half, ids):
        assert 1_000_000 < len(encoder.encode(DeviceList(ids, unhealthy))) <= KUBELET_MESSAGE_BYTES


@pytest.mark.parametrize(("count", "word"), [(205_019, "Unhealthy"), (205_020, "")])
def test_the_word_unhealthy_is_left_out_only_where_it_would_not_fit(count: int, word: str) -> None:
    # The end of the list alone: what is between costs the generated classes many seconds.
    ids = IdSet.of([0, 9, count - 2, count - 1])
    device_list = DeviceList(ids, ids)
    assert DeviceListEncoder().encode(device_list) == _serialized(device_list, word)
