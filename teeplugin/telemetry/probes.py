"""Liveness and readiness, each with a line for every check that says why not; asked over HTTP.

Not live means that a restart is the fix. Not ready means that pods can't be given TEE memory here.
"""

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING

from teeplugin.daemon.parts import PluginParts
from teeplugin.kubelet.socket_probe import ANSWER_SECONDS, silence_of
from teeplugin_backends.base import QUERY_SECONDS

if TYPE_CHECKING:
    from teeplugin.dra.parts import DraParts

STUCK_SECONDS = 3 * QUERY_SECONDS
"""A query ends at its deadline; one that did not is held by something that only a restart ends."""

Checks = Mapping[str, str | None]
"""What was looked at, with what is wrong, or None."""


async def live(parts: PluginParts) -> Checks:
    """Look whether the loop runs (it runs this), the TEE's query ends, and our socket answers."""
    return {
        "loop": None,
        "query": _stuck_query(parts),
        "socket": await _silent_socket(parts),
    }


async def ready(parts: PluginParts) -> Checks:
    """Look whether pods can be given units: the TEE answers, and the kubelet has our list.

    In DRA mode, whether the scheduler has our slice as well.
    """
    checks = {
        "running": "the plugin is shutting down" if parts.stopping.is_set() else None,
        "tee": _tee_problem(parts),
        "registered": parts.registration.status.not_registered_reason,
    }
    return checks if parts.dra is None else checks | {"published": _unpublished(parts.dra)}


def report(checks: Checks, name: str) -> tuple[bool, str]:
    """Tell whether all is well, and the checks in words, as Kubernetes' own probes write them."""
    well = not any(checks.values())
    lines = [
        f"[-]{check}: {problem}" if problem else f"[+]{check}: ok"
        for check, problem in checks.items()
    ]
    return well, "\n".join([*lines, f"{name}: {'ok' if well else 'failed'}", ""])


def _tee_problem(parts: PluginParts) -> str | None:
    decision = parts.poller.decision
    if decision.cause is not None:
        return f"{decision.cause.kind}: {decision.cause.message}: {decision.cause.fix}"
    if decision.device_list is None:
        return "it has not answered yet"
    return None if decision.device_list.ids else parts.misfit


def _unpublished(dra: "DraParts") -> str | None:
    """Say why there is no slice. One that is stored serves on while the API server is away."""
    publisher = dra.publisher
    if publisher.stored is not None:
        return None
    return publisher.problem or publisher.error or "no ResourceSlice has been written yet"


def _stuck_query(parts: PluginParts) -> str | None:
    since = parts.poller.queries.under_way_since
    if since is None or monotonic() - since <= STUCK_SECONDS:
        return None
    return (
        f"a query of the TEE has run for {monotonic() - since:.0f} s: the backend can't cancel it"
    )


async def _silent_socket(parts: PluginParts) -> str | None:
    """Call our own socket; where none is in place, the registration will put one there."""
    path = parts.endpoint.path
    if not _in_place(parts):
        return None
    silence = await silence_of(path, ANSWER_SECONDS, parts.endpoint.probe_method)
    problem = silence and f"{path} {silence}"
    # Only if it is still the one: the registration may have put another in its place meanwhile.
    return problem if parts.endpoint.path == path and _in_place(parts) else None


def _in_place(parts: PluginParts) -> bool:
    return parts.endpoint.in_place and not parts.stopping.is_set()
