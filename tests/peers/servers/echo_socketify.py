"""socketify (uWebSockets under CFFI): echo. Arguments: port, folder."""

import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions


def echo(socket: Any, message: Any, opcode: Any) -> None:
    socket.send(message, opcode)


app = App()
app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 2**21,
        "max_backpressure": 2**24,
        "idle_timeout": 960,
        "message": echo,
    },
)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _: None)
app.run()
