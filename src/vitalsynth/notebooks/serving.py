"""A Jupyter server that Colab's page may use as its runtime: for this machine, with a token, and for no other page.

Colab's page is served from its own address and runs in the browser of whoever looks at it; it asks 127.0.0.1 for a
kernel. Jupyter takes a request that brings the token whatever page it comes from; here the page must be Colab's, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback
from tornado.web import RequestHandler
from traitlets.config import Config

from .kernels import ThisPython

COLAB = "https://colab.research.google.com"
LOOPBACK = "127.0.0.1"


class TokenOfColab(IdentityProvider):
    """Lets in who has the token, unless the request comes from a page that is neither Colab's nor the server's own."""

    async def get_user(self, handler: RequestHandler) -> User | None:
        origin = handler.request.headers.get("Origin")
        if origin not in (None, COLAB, f"http://{handler.request.host}"):
            return None
        return await self._get_user(handler)


class Runtime(ServerApp):
    """A server that reads no settings of the user's, loads no extensions, and ends at once when it is asked to."""

    def load_config_file(self, suppress_errors: bool = True) -> None:
        """Read nothing."""

    def init_signal(self) -> None:
        """End on SIGINT without asking, too."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop(from_signal=True))

    def init_shutdown_no_activity(self) -> None:
        """Look often enough whether anything was asked lately."""
        if seconds := self.shutdown_no_activity_timeout:
            PeriodicCallback(self.shutdown_no_activity, 1000 * min(60.0, seconds / 4)).start()


def serve(port: int, token: str, folder: Path, idle: int, ready: Callable[[], Any]) -> None:
    """Serve until SIGINT or SIGTERM, or until nothing was asked for a while; then all kernels are ended.

    Args:
        port: Of 127.0.0.1, which must be free.
        token: Whoever has it may run anything.
        folder: Where kernels run, and what the file browser shows.
        idle: Seconds without activity after which kernels, and then the server, end; 0 is never.
        ready: Called when it listens.

    Raises:
        ValueError: if the port is taken.
    """
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    with TemporaryDirectory(prefix="vitalsynth-") as sockets:
        app = Runtime(config=_config(port, token, folder, idle), runtime_dir=sockets)
        try:
            app.initialize(argv=[], find_extensions=False)
        except SystemExit:
            raise ValueError(f"port {port} is taken; choose another --port, or 0 for a free one") from None
        app.io_loop.add_callback(ready)
        try:
            app.start()
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def _config(port: int, token: str, folder: Path, idle: int) -> Config:
    culling = {"cull_idle_timeout": idle, "cull_interval": max(1, min(60, idle // 4)), "cull_connected": True}
    return Config(
        {
            "ServerApp": {
                "ip": LOOPBACK,
                "port": port,
                "port_retries": 0,
                "allow_origin": COLAB,
                "allow_credentials": True,
                "identity_provider_class": TokenOfColab,
                "kernel_spec_manager_class": ThisPython,
                "root_dir": str(folder),
                "allow_root": os.name == "posix" and os.geteuid() == 0,
                "open_browser": False,
                "terminals_enabled": False,
                "shutdown_no_activity_timeout": idle,
                "log_level": "ERROR",
            },
            "IdentityProvider": {"token": token},
            "KernelManager": {"transport": "ipc", "shutdown_wait_time": 30.0},
            "MappingKernelManager": culling if idle else {},
        }
    )
