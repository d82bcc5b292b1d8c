import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.policy import units

SIZES = st.integers(0, 2**50)
UNITS = st.integers(units.MIN_PRECISION_KB * units.KIB, 2**40)


@given(SIZES, SIZES, UNITS)
def test_units_are_all_that_fit_in_the_capacity_and_no_more(
    total_bytes: int, reserve_bytes: int, unit_bytes: int
) -> None:
    capacity_bytes = units.capacity_bytes(total_bytes, reserve_bytes)
    count = units.units_in(capacity_bytes, unit_bytes)
    assert 0 <= count * unit_bytes <= capacity_bytes < (count + 1) * unit_bytes
    assert capacity_bytes == (total_bytes - reserve_bytes if total_bytes > reserve_bytes else 0)


@given(st.integers(0, 10_000), SIZES, UNITS)
def test_a_shortage_is_the_fewest_units_without_which_the_rest_is_backed(
    unallocated: int, free_bytes: int, unit_bytes: int
) -> None:
    short = units.units_short(unallocated, free_bytes, unit_bytes)
    assert 0 <= short <= unallocated
    assert (unallocated - short) * unit_bytes <= free_bytes
    if short:
        assert (unallocated - short + 1) * unit_bytes > free_bytes


@given(st.integers(0, 20_000), st.integers(0, 20))
def test_rows_bytes_is_the_sum_over_the_ids(count: int, row_bytes: int) -> None:
    assert units.rows_bytes(count, row_bytes) == sum(
        row_bytes + len(str(device_id)) for device_id in range(count)
    )


def test_the_longest_list_is_the_one_measured_on_a_kubelet() -> None:
    assert units.MAX_UNITS == 226_600
    fits = units.rows_bytes(units.MAX_UNITS, units.HEALTHY_ROW_BYTES)
    over = units.rows_bytes(units.MAX_UNITS + 1, units.HEALTHY_ROW_BYTES)
    assert fits <= units.KUBELET_MESSAGE_BYTES < over


@given(SIZES)
def test_the_finest_precision_fits_and_one_kb_less_does_not(size_bytes: int) -> None:
    precision_kb = units.finest_precision_kb(size_bytes)
    assert units.units_in(size_bytes, precision_kb * units.KIB) <= units.MAX_UNITS
    if precision_kb > units.MIN_PRECISION_KB:
        assert units.units_in(size_bytes, (precision_kb - 1) * units.KIB) > units.MAX_UNITS


@given(st.integers(2**31, 2**50))
def test_the_comfortable_precision_gives_a_list_the_kubelet_likes(size_bytes: int) -> None:
    count = units.units_in(size_bytes, units.comfortable_precision_kb(size_bytes) * units.KIB)
    assert 999 <= count <= units.COMFORTABLE_UNITS


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096b", 4096),
        ("512K", 512 * 1024),
        ("512 KB", 512 * 1024),
        ("600MiB", 600 * 1024**2),
        ("2.5mib", 2_621_440),
        ("600Mi", 600 * 1024**2),  # as Kubernetes writes them
        ("1Gi", 1024**3),
        ("2.5 ki", 2560),
        ("2G", 2 * 1024**3),
        ("1T", 1024**4),
    ],
)
def test_sizes_are_read_in_1024s(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "-1M",
        "1e3",
        "12X",
        "12i",
        "12Mibi",
        "1.5",
        "0.3K",
        "1 2",
        "٣M",
        "NaN",
        "9" * 4400,
        "1." + "0" * 4400,
    ],
)
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (10485777, "10485777 B"),
        (512 * 1024, "512 KiB"),
        (2621440, "2.5 MiB"),
        (600 * 1024**2, "600 MiB"),
        (2176 * 1024**2, "2176 MiB"),
        (5 * 1024**3 // 4, "1.25 GiB"),
        (65537 * 1024, "65537 KiB"),
        (3 * 1024**4, "3 TiB"),
        (1024**5, "1024 TiB"),
    ],
)
def test_a_size_is_written_shortly_and_exactly(size_bytes: int, text: str) -> None:
    assert units.format_size(size_bytes) == text
    assert units.flag_size(size_bytes) == text.replace(" ", "")


ROUND_SIZES = st.builds(
    lambda quarters, power: quarters * 1024**power // 4, st.integers(0, 8192), st.integers(1, 4)
)


@given(st.integers(0, 2**60) | ROUND_SIZES)
def test_a_size_that_was_written_is_read_as_the_same(size_bytes: int) -> None:
    assert units.parse_size(units.format_size(size_bytes)) == size_bytes
    assert units.parse_size(units.flag_size(size_bytes)) == size_bytes
    assert len(units.format_size(size_bytes)) <= len(f"{size_bytes} B") + len("iB")
