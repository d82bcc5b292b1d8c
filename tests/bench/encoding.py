"""The encoding of lists alone, in this process."""

from statistics import median
from time import perf_counter

from teeplugin.policy.device_list import DeviceList, DeviceListEncoder, IdSet
from tests.bench.figures import Results

ROUNDS = 15
SCATTERED_ROUNDS = 3
ALLOCATED = 1_000


def measure(count: int, results: Results) -> None:
    ids = IdSet.first(count)
    all_healthy = DeviceList(ids)
    encoder = DeviceListEncoder()
    results.put("encode_first", count, _milliseconds(encoder, all_healthy))
    encoder.encode(DeviceList(ids, unhealthy=ids))
    step = max(2, count // ALLOCATED)
    allocated = IdSet.of(range(0, count, step))
    each_second = IdSet.of(range(1, count, 2))
    for name, unhealthy, rounds in (
        ("encode_flip", ids, ROUNDS),
        ("encode_upper", ids.highest(count // 2), ROUNDS),
        ("encode_allocated", ids - allocated, ROUNDS),
        ("encode_scattered", each_second, SCATTERED_ROUNDS),
    ):
        taken = []
        for _ in range(rounds):
            taken.append(_milliseconds(encoder, DeviceList(ids, unhealthy)))
            encoder.encode(all_healthy)
        results.put(name, count, median(taken))


def _milliseconds(encoder: DeviceListEncoder, device_list: DeviceList) -> float:
    began = perf_counter()
    encoder.encode(device_list)
    return (perf_counter() - began) * 1000
