"""`vitalsynth review serve`: a page where reviewers answer."""

from __future__ import annotations

import sys
import threading
import time

from ..processes import StopFlag
from ..reviewing.people import People
from ..reviewing.review import Review


def review_serve(review: str, *, host: str = "127.0.0.1", port: int = 8765, links: bool = False) -> None:
    """Serve the page of a review, where whoever has the link of a letter answers it, until Ctrl-C.

    It needs no script and no cookie, and works on a phone. It listens on this machine alone; put a web server of yours
    with HTTPS before it for others, and tell 'review send' its address with --page.

    Args:
        review: Its folder.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        links: Print the link of each letter with its address, to hand out without mail.

    Raises:
        ValueError: if the addresses were erased.
        OSError: if the port is taken.
    """
    from ..reviewing.serving import server

    people = People(Review(review))
    with StopFlag() as stop:
        page = server(people, host, port)
        at = f"http://{host}:{page.server_port}"
        print(f"{at} (Ctrl-C stops)", file=sys.stderr, flush=True)
        if links:
            for reviewer, address in enumerate(people.addresses):
                for letter in range(people.review.letters(reviewer)):
                    print(f"{address}\t{at}/{people.token(reviewer, letter)}", flush=True)
        thread = threading.Thread(target=page.serve_forever, daemon=True)
        thread.start()
        while not stop.raised:
            time.sleep(0.2)
        page.shutdown()
        thread.join()
        page.server_close()
