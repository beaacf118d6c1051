"""websockets: echo. Arguments: port, folder."""

import asyncio
import contextlib
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError


async def echo(connection: ServerConnection) -> None:
    # Connections that end without a closing handshake are the loads' way, not worth a log line.
    with contextlib.suppress(ConnectionClosedError):
        async for message in connection:
            await connection.send(message)


async def main(port: int) -> None:
    # What a small echo has no use for is off, as the documentation advises for speed.
    async with serve(
        echo,
        "127.0.0.1",
        port,
        compression=None,
        ping_interval=None,
        max_size=2**21,
        backlog=4096,
        open_timeout=60,
    ) as server:
        await server.serve_forever()


def run() -> None:
    if "uvloop" in sys.argv[3:]:
        import uvloop

        uvloop.run(main(int(sys.argv[1])))
    else:
        asyncio.run(main(int(sys.argv[1])))


run()
