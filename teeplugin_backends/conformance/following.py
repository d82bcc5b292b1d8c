"""Follows the changes that a backend reports, as the plugin does."""

import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

from teeplugin_backends.base import CLOSE_SECONDS, TeeBackend
from teeplugin_backends.conformance import rules
from teeplugin_backends.conformance.rules import ContractViolationError
from teeplugin_backends.conformance.running import Call

_FOLLOW_SECONDS: Final = 0.3


async def follow_for_a_while(backend: TeeBackend) -> None:
    """Wait for a change, on this node and on one that has nothing, and close what waits.

    Raises:
        ContractViolationError: it ended by an error that is none, or did not end when it was to.
    """
    with tempfile.TemporaryDirectory() as empty:
        for root in (Path("/"), Path(empty)):
            changes = backend.changes(root)
            first = Call(_first(changes))
            if await first.ends(_FOLLOW_SECONDS):
                rules.change(first.outcome)
            first.cancel()
            if not await first.ends(CLOSE_SECONDS):
                raise ContractViolationError(
                    f"changes() went on for over {CLOSE_SECONDS} s after it was cancelled: "
                    "wait in the event loop only, and let the cancellation through"
                )
            await changes.aclose()


async def _first(changes: AsyncGenerator[None, None]) -> None:
    """Wait for the first change; that there never is one is right as well."""
    async for _ in changes:
        return
