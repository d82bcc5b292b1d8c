"""What a second registration of one socket does to a real kubelet: why ours name another each."""

import pytest

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.grpc_client import CallRefused, call
from teeplugin.kubelet.registration import _REGISTER
from tests.cluster.lab import Lab
from tests.cluster.pods import RESOURCE
from tests.cluster.real_kubelet import Real
from tests.cluster.versions import NEWER_DROPPED
from tests.in_process import registering
from tests.waiting import eventually

CALL_SECONDS = 15


@pytest.mark.anyio
async def test_a_socket_that_is_registered_twice(lab: Lab) -> None:
    lab.kubelet_start()
    kubelet = Real(lab)
    directory = lab.device_plugins_dir
    takes_one_client = lab.settings.versions.differs_by(NEWER_DROPPED)
    try:
        async with registering(directory) as ours:
            await kubelet.has(3)
            request = v1beta1.RegisterRequest(
                version="v1beta1", endpoint=ours.endpoint.name, resource_name=RESOURCE
            )
            again = call(directory / "kubelet.sock", _REGISTER, bytes(request), CALL_SECONDS)
            if takes_one_client:
                await again
            else:
                with pytest.raises(CallRefused, match="device plugin already connected"):
                    await again
                # The plugin's next registration names another socket, so it succeeds.
                first, serial = ours.endpoint.name, ours.streams.last_serial
                ours.registration.renew()
                await eventually("another stream", lambda: ours.streams.last_serial > serial)
                assert ours.endpoint.name != first
        if takes_one_client:
            await kubelet.has(0)
        else:
            # The kubelet has lost the first socket: to it, a plugin that is gone serves units.
            assert len(await kubelet.healthy()) == 3
    finally:
        lab.kubelet_stop()
        lab.kubelet_start()
