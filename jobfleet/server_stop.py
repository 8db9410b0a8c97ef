"""Whether the server of a host application stops.

uvicorn waits for open requests before it stops, and ASGI does not notify an application earlier. So an open page would
keep the process up. While uvicorn serves, it handles the signals of the process, and its handler has the server.
"""

from __future__ import annotations

import signal


def is_stopping() -> bool:
    """Whether uvicorn was asked to stop; False also for another server."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(signum), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False
