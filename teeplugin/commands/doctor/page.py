"""Looks at the page /status of the running plugin, or at what else is at its address."""

import socket
from collections.abc import Iterable

import anyio

from teeplugin.commands.doctor.evidence import PageSeen, PageState, PluginStatus
from teeplugin.commands.status_client import (
    ANSWER_SECONDS,
    NOT_OURS,
    NoPluginError,
    get_status,
    resolve,
)
from teeplugin.config.validators import EVERYWHERE, split_address


async def look_at_page(listen: str) -> PageSeen:
    """Ask at the address of `--listen`, the empty text being none; nothing listens there for it."""
    if not listen:
        return PageSeen(PageState.OFF)
    try:
        return await _look(listen)
    except (NoPluginError, ValueError, LookupError, TypeError):
        return PageSeen(PageState.SOMEBODY_ELSE)
    except ConnectionRefusedError:
        return PageSeen(PageState.NOBODY)
    except socket.gaierror as error:
        return PageSeen(PageState.NO_SUCH_ADDRESS, error=error.strerror or str(error))
    except OSError as error:
        return PageSeen(PageState.SILENT, error=error.strerror or str(error))


async def _look(listen: str) -> PageSeen:
    with anyio.move_on_after(ANSWER_SECONDS):
        addresses = await resolve(listen)
        if split_address(listen)[0] not in EVERYWHERE and not _is_ours(addresses):
            return PageSeen(PageState.NO_SUCH_ADDRESS)
        return PageSeen(PageState.OURS, PluginStatus.parse(await get_status(listen)))
    raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")


def _is_ours(addresses: Iterable[tuple[int, int, int, str, tuple[str, int]]]) -> bool:
    """Whether one of them is this machine's: tried with a port that nobody has asked for.

    The plugin listens at each; binding its own port could take it from a plugin that starts.
    """
    for family, _, _, _, where in addresses:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((where[0], 0))
        except OSError as error:
            if error.errno in NOT_OURS:
                continue
        return True
    return False
