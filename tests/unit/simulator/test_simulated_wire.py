"""The simulated kubelet reads device lists fast, and takes nothing that a kubelet would reject."""

from hypothesis import given
from hypothesis import strategies as st

from teeplugin.api.deviceplugin import v1beta1 as api
from teeplugin.simulator.wire import MalformedMessageError, parse_device_list


@given(st.lists(st.tuples(st.text(max_size=200), st.sampled_from(["Healthy", "", "Unhealthy"]))))
def test_the_fast_parser_agrees_with_the_slow_one(rows: list[tuple[str, str]]) -> None:
    message = api.ListAndWatchResponse([api.Device(id=name, health=word) for name, word in rows])
    parsed = parse_device_list(bytes(message))
    assert parsed.ids == {name for name, _ in rows}
    assert parsed.healthy == {name for name, word in rows if word == "Healthy"}


def test_unknown_fields_are_skipped_and_topology_too() -> None:
    row = bytes(api.Device(id="7", topology=api.TopologyInfo([api.NumaNode(id=1)])))
    data = b"\x10\x05" + b"\x0a%c" % (len(row) + 11) + row + b"\x12\x07Healthy\x18\x01"
    assert parse_device_list(data).healthy == {"7"}


def test_bytes_cut_anywhere_are_never_taken_for_the_whole() -> None:
    data = bytes(
        api.ListAndWatchResponse([api.Device(id=str(i), health="Healthy") for i in range(12)])
    )
    whole = parse_device_list(data).ids
    for end in range(len(data)):
        try:
            assert parse_device_list(data[:end]).ids < whole
        except MalformedMessageError:
            continue
