"""Requests to the API server: an answer, or one kind of error with a fix."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from teeplugin.dra.api_client import ApiClient, ApiError
from tests.dra_api_server import FakeApiServer, api_server
from tests.dra_claims import POOL, claim

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with api_server() as one:
        yield one


@pytest.mark.parametrize(
    ("status", "fix"),
    [(401, "ServiceAccount"), (403, "manifests of DRA mode"), (404, "1.36"), (500, "runs")],
)
async def test_a_refusal_names_its_fix(server: FakeApiServer, status: int, fix: str) -> None:
    api = ApiClient(server.configuration)
    server.status = status
    with pytest.raises(ApiError, match=f"answered {status} Refused: as the test says") as caught:
        await api.node(POOL)
    assert fix in caught.value.fix
    await api.close()


async def test_a_claim_is_read(server: FakeApiServer) -> None:
    server.claims["one"] = claim("uid-one")
    api = ApiClient(server.configuration)
    assert await api.claim("default", "one") == claim("uid-one")
    assert server.requests == ["GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/one"]
    with pytest.raises(ApiError, match="two not found"):
        await api.claim("default", "two")
    await api.close()


async def test_without_a_configuration_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ApiError, match="there is no configuration for the API server"):
        await ApiClient().node(POOL)
