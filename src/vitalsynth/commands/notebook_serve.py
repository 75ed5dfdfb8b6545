"""`vitalsynth notebook serve`: this machine as Colab's runtime."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

from ..cluster.watching.amounts import DURATIONS, amount

WARNING = """\
In Colab: Connect > Connect to a local runtime > Backend URL. The browser must run on this machine, and may ask
whether Colab may reach it; from elsewhere, forward the port first: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE
Whoever has the URL, and every notebook that is connected, runs anything as {user} here, and reads and writes all that
{user} may: connect notebooks that you trust, and give the URL to nobody. Outputs are saved with the notebook, to
Drive: what may not leave this machine must not be shown. Only 127.0.0.1 listens, and other pages are refused.
Ctrl-C ends the runtime and its kernels."""


def notebook_serve(*, port: int = 8888, directory: str = ".", idle: str = "") -> None:
    """Serve this machine as a runtime for Colab, and print the one URL that its page asks for.

    It is a Jupyter server that listens on 127.0.0.1 alone and takes requests of Colab's page with a token that is made
    anew every time. Ctrl-C, or SIGTERM, ends it with all its kernels; training in them has half a minute to save.

    Args:
        port: Of 127.0.0.1; 0 picks a free one.
        directory: Folder in which kernels run.
        idle: End kernels, and then the runtime, when nothing was run or asked for so long, such as 2h; never by
            default.

    Raises:
        ValueError: if the port is taken, or there is no such folder.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise ValueError(f"--directory {directory} is no folder")
    seconds = int(amount("idle", idle, DURATIONS).value) if idle else 0
    try:
        from ..notebooks import serving
    except ModuleNotFoundError as error:
        raise ValueError(f"notebook serve needs {error.name}: pip install 'vitalsynth[notebooks]'") from None
    port, token = _free(port), secrets.token_hex(24)

    def tell() -> None:
        print(f"http://{serving.LOOPBACK}:{port}/?token={token}", flush=True)
        user = "root" if os.geteuid() == 0 else "you"
        print(WARNING.format(port=port, user=user), file=sys.stderr, flush=True)

    serving.serve(port, token, folder.resolve(), seconds, tell)
    print("the runtime has ended, and its kernels with it", file=sys.stderr)


def _free(port: int) -> int:
    """Return the port if nobody listens there, or a free one for 0.

    Raises:
        ValueError: if it is taken, or may not be used.
    """
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
        try:
            attempt.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or "a port is a number up to 65535"
            raise ValueError(
                f"port {port} cannot be used ({why}); choose another --port, or 0 for a free one"
            ) from None
        return attempt.getsockname()[1]
