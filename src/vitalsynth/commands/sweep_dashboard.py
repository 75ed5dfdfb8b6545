"""`vitalsynth sweep dashboard`: Optuna's page of a sweep."""

from __future__ import annotations

import sys
import threading
import time

from ..processes import StopFlag
from ..sweeping.sweep import Sweep


def sweep_dashboard(sweep: str, *, port: int = 0) -> None:
    """Open Optuna's dashboard of a sweep, for this machine alone, also while it is worked on; Ctrl-C ends it.

    Args:
        sweep: Its folder.
        port: Where the page is shown; 0 picks a free one.

    Raises:
        ValueError: if there is no such sweep, its database does not answer, the port is taken, or there is no
            optuna-dashboard.
    """
    study = Sweep(sweep).study
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise ValueError(f"the dashboard needs {error.name}: pip install 'vitalsynth[sweep]'") from None
    from werkzeug.serving import make_server

    try:
        server = make_server("127.0.0.1", port, wsgi(study._storage), threaded=True)
    except SystemExit:  # werkzeug has said why
        raise ValueError(f"--port {port}: it cannot be listened on; 0 picks a free one") from None
    with StopFlag() as stop:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"Optuna's dashboard is at http://127.0.0.1:{server.port} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        while not stop.raised:
            time.sleep(0.1)
        server.shutdown()
