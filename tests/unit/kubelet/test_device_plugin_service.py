"""The RPCs as a real grpc client, one that is not grpclib, meets them."""

import anyio
import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.grpc_server import MAX_MESSAGE_BYTES
from teeplugin.policy.device_list import IdSet, PublishedList
from teeplugin.policy.variables import unit_variables
from teeplugin_backends.base import (
    ContainerAccess,
    Device,
    Unreachable,
)
from tests.unit.kubelet.served_service import (
    ACCESS,
    UNIT_BYTES,
    Served,
    allocate_request,
    healthy,
    made_served,  # noqa: F401 - the fixture `served`
    watch,
)

pytestmark = pytest.mark.anyio


async def test_options_announce_nothing_that_costs_the_kubelet_a_call(served: Served) -> None:
    answer = await served.call("GetDevicePluginOptions", b"")
    assert v1beta1.DevicePluginOptions.parse(answer) == v1beta1.DevicePluginOptions()


async def test_the_list_comes_at_once_and_again_at_each_change(served: Served) -> None:
    served.list_units(3)
    async with served.channel() as channel:
        frames = watch(channel)
        assert healthy(await anext(frames)) == {"0", "1", "2"}
        served.list_units(3, unhealthy=IdSet.first(3))
        assert healthy(await anext(frames)) == set()
        served.list_units(3)
        assert healthy(await anext(frames)) == {"0", "1", "2"}


async def test_a_stream_opened_before_the_first_reading_waits_for_it(served: Served) -> None:
    async with served.channel() as channel:
        frames = watch(channel)
        await served.watch_streams.another(0)
        served.list_units(2)
        assert healthy(await anext(frames)) == {"0", "1"}


async def test_two_streams_each_see_every_state(served: Served) -> None:
    served.list_units(4)
    async with served.channel() as one, served.channel() as other:
        streams = [watch(one), watch(other)]
        for frames in streams:
            assert len(healthy(await anext(frames))) == 4
        for unhealthy in (1, 2, 4, 0):
            served.list_units(4, unhealthy=IdSet.first(unhealthy))
            for frames in streams:
                assert len(healthy(await anext(frames))) == 4 - unhealthy


async def test_a_change_of_the_fault_alone_sends_nothing(served: Served) -> None:
    served.list_units(4)
    async with served.channel() as channel:
        frames = watch(channel)
        await anext(frames)
        assert served.latest_list.value is not None
        published_list = served.latest_list.value
        served.latest_list.set(
            PublishedList(published_list.device_list, published_list.frame, "another fault")
        )
        served.list_units(5)
        assert len(healthy(await anext(frames))) == 5


async def test_a_stream_that_is_never_read_disturbs_nobody(served: Served) -> None:
    served.list_units(200_000)
    async with served.channel() as channel:
        blocked = channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch")(b"")
        await served.watch_streams.another(0)
        async with served.channel() as other:
            frames = watch(other)
            for unhealthy in (0, 7, 0, 9):
                served.list_units(200_000, unhealthy=IdSet.first(unhealthy))
                assert len(await anext(frames)) > 3_000_000
        answer = await served.call("Allocate", allocate_request(["11"]))
        assert v1beta1.AllocateResponse.parse(answer).container_responses
        blocked.cancel()


async def test_a_slow_stream_skips_what_was_overtaken_and_gets_the_newest(served: Served) -> None:
    served.list_units(10)
    async with served.channel() as channel:
        frames = watch(channel)
        await anext(frames)
        # All in one step of the loop: the stream's task can't run in between.
        for unhealthy in range(1, 10):
            served.list_units(10, unhealthy=IdSet.first(unhealthy))
        assert len(healthy(await anext(frames))) == 1


async def test_allocate_hands_out_the_way_to_the_tee_and_tells_units_and_bytes(
    served: Served,
) -> None:
    served.list_units(20)
    request = allocate_request(["3", "19", "0"], [])
    answer = v1beta1.AllocateResponse.parse(await served.call("Allocate", request))
    first, empty = answer.container_responses
    assert first.envs == {
        "TEE": "itrustee",
        "TEE_RAM_UNITS": "3",
        "TEE_RAM_UNIT_BYTES": "524288",
        "TEE_RAM_BYTES": "1572864",
        "TEE_RAM_UNITS_HUAWEI_COM_TEE_RAM": "3",
        "TEE_RAM_UNIT_BYTES_HUAWEI_COM_TEE_RAM": "524288",
        "TEE_RAM_BYTES_HUAWEI_COM_TEE_RAM": "1572864",
    }
    (mount,) = first.mounts
    assert (mount.host_path, mount.container_path) == ("/var/itrustee/teecd",) * 2
    assert mount.read_only
    (device,) = first.devices
    assert (device.host_path, device.container_path) == ("/dev/teelog",) * 2
    assert device.permissions == "rw"
    assert empty == v1beta1.ContainerAllocateResponse()
    assert served.allocated == [[3, 19, 0], []]
    assert served.service.allocations == {"ok": 1}


def test_two_resources_of_one_container_keep_their_figures_apart() -> None:
    ram = unit_variables("huawei.com/tee-ram", 3, UNIT_BYTES)
    fine = unit_variables("a-b.example/tee.ram_2", 4, 2 * UNIT_BYTES)
    # As the kubelet merges them.
    both = ram | fine
    assert both["TEE_RAM_BYTES_HUAWEI_COM_TEE_RAM"] == str(3 * UNIT_BYTES)
    assert both["TEE_RAM_BYTES_A_B_EXAMPLE_TEE_RAM_2"] == str(8 * UNIT_BYTES)
    assert both["TEE_RAM_UNITS"] == "4"


@pytest.mark.parametrize(
    "given",
    [
        KeyError("surprise"),
        SystemExit(3),
        Unreachable("not from here"),
        None,
        ContainerAccess(environment={"TEE": 1}),  # type: ignore[dict-item]
        ContainerAccess(devices=(Device("/dev/tee0", None, "rw"),)),  # type: ignore[arg-type]
    ],
    ids=repr,
)
async def test_a_bug_of_the_backends_is_a_status_and_counted_apart(
    served: Served, given: object
) -> None:
    served.list_units(4)
    served.tee.given = given
    error = await served.refusal("Allocate", allocate_request(["1"], ["2"]))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert (error.details() or "").startswith("a bug in the backend: access() raised ")
    assert (error.details() or "").endswith(": report it to its author")
    assert served.service.allocations == {"backend_bug": 1}
    assert served.allocated == []
    served.tee.given = ACCESS
    await served.call("Allocate", allocate_request(["1"]))
    assert served.service.allocations == {"backend_bug": 1, "ok": 1}


async def test_an_id_marked_unhealthy_meanwhile_is_allocated_all_the_same(served: Served) -> None:
    served.list_units(4, unhealthy=IdSet.of([2]))
    await served.call("Allocate", allocate_request(["2"]))


@pytest.mark.parametrize("text", ["4", "-1", "01", "1.0", "", "x", "99999999999", "٣", "1 "])
async def test_an_unknown_id_is_refused_by_name(served: Served, text: str) -> None:
    served.list_units(4)
    error = await served.refusal("Allocate", allocate_request([text]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is not listed" in (error.details() or "")


async def test_an_id_named_twice_is_refused(served: Served) -> None:
    served.list_units(4)
    error = await served.refusal("Allocate", allocate_request(["1", "2", "1"]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "device 1 is requested twice" in (error.details() or "")


async def test_allocate_is_refused_while_a_fault_stands_with_cause_and_fix(served: Served) -> None:
    served.list_units(4, unhealthy=IdSet.first(4), fault="nothing answers: start the daemon")
    error = await served.refusal("Allocate", allocate_request(["1"]))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "nothing answers: start the daemon"


async def test_nothing_is_allocated_before_the_first_reading(served: Served) -> None:
    error = await served.refusal("Allocate", allocate_request(["1"]))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("method", ["GetPreferredAllocation", "PreStartContainer"])
async def test_what_the_options_switch_off_is_not_implemented(served: Served, method: str) -> None:
    served.list_units(4)
    assert await served.status(method, b"") is grpc.StatusCode.UNIMPLEMENTED


BAD_BYTES = st.one_of(
    st.binary(max_size=40),
    # A number where the id's text should be, which a lax parser lets through.
    st.just(b"\x0a\x02\x08\x05"),
    st.just(b"\x0a\x7f\x0a"),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(request=BAD_BYTES)
async def test_no_bytes_bring_anything_but_a_grpc_status(
    served: Served, request: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    served.list_units(4)
    code = await served.status("Allocate", request)
    assert code in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert not caplog.records


async def test_a_request_that_is_too_large_is_refused_unread_and_the_connection_lives(
    served: Served,
) -> None:
    served.list_units(3)
    async with served.channel() as channel:
        allocate = channel.unary_unary("/v1beta1.DevicePlugin/Allocate")
        # Together far more than a connection's window: what is refused must not use it up.
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await allocate(b"x" * (MAX_MESSAGE_BYTES + 1))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "at most 4194304 are taken" in (caught.value.details() or "")
        assert await allocate(allocate_request(["1"]))


async def test_an_unknown_method_is_told_so(served: Served) -> None:
    error = await served.refusal("Release", b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_closing_ends_every_stream_well_and_removes_the_socket(served: Served) -> None:
    served.list_units(3)
    async with served.channel() as channel:
        frames = watch(channel)
        await anext(frames)
        with anyio.fail_after(5):
            await served.endpoint.close()
            with pytest.raises(StopAsyncIteration):
                await anext(frames)
    assert not served.endpoint.path.exists()
    assert len(served.watch_streams) == 0
