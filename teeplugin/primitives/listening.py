"""End a server's listening without losing a connection that was just accepted."""

import asyncio

import anyio

_TURNS = 3
"""Of the loop, from accept() on: the transport, connection_made, the first step of its task."""


async def stop_listening(server: asyncio.Server) -> None:
    """Accept nothing more, let what is accepted be made, then close the listening sockets.

    asyncio makes the transport a turn after it accepts, and asserts that the server is open then:
    closed between the two, it leaves a connected socket to the garbage collector, and a peer that
    waits.
    """
    for listener in server.sockets:
        server.get_loop().remove_reader(listener)
    with anyio.CancelScope(shield=True):
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    server.close()
