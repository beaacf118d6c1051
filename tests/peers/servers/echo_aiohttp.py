"""aiohttp on uvloop: echo and files. Arguments: port, folder."""

import sys
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web


async def echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(compress=False, max_msg_size=2**21)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def file(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(Path(sys.argv[2]) / request.match_info["name"])


async def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_get("/{name}", file)
    return app


uvloop.install()
web.run_app(
    application(),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    backlog=4096,
    access_log=None,
    print=None,
)
