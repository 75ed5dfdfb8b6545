"""A page where letters are answered: one signed link a letter, no script, no cookie, nothing from elsewhere.

Looking never votes, since mail scanners open links: only a form that is sent does, and its address, which nobody can
guess, is what allows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from .people import People
from .review import LONGEST, Ballot
from .writing import questions, templates

LARGEST = 64 * 1024
"""Bytes of a form."""
TIMEOUT = 20
"""Seconds that a visitor may be silent."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


class Page:
    """The page of a review, for any WSGI server.

    Args:
        people: Who may answer.
    """

    def __init__(self, people: People) -> None:
        self.people = people
        self.templates = templates()
        self.routes = Map(
            [
                Rule("/<token>", endpoint=self.show, methods=["GET"]),
                Rule("/<token>", endpoint=self.vote, methods=["POST"]),
                Rule("/<token>/<picture>", endpoint=self.picture, methods=["GET"]),
                Rule("/leave/<token>", endpoint=self.ask_to_leave, methods=["GET"]),
                Rule("/leave/<token>", endpoint=self.leave, methods=["POST"]),
            ]
        )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = request.max_form_memory_size = LARGEST
        try:
            endpoint, values = self.routes.bind_to_environ(environ).match()
            response = endpoint(request, **values)
        except HTTPException as error:
            response = self._page(error.code or 500, "message", text=f"{error.name}.")
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _page(self, status: int, state: str, **about: Any) -> Response:
        blank = {"asked": [], "given": {}, "token": "", "text": "", "longest": LONGEST}
        html = self.templates.get_template("page.html").render(state=state, **{**blank, **about})
        return Response(html, status, mimetype="text/html")

    def _whose(self, token: str) -> tuple[int, int]:
        """Return whose letter it is.

        Raises:
            NotFound: if it is none of ours.
        """
        found = self.people.whose(token)
        if found is None:
            raise NotFound
        return found

    def show(self, request: Request, token: str) -> Response:
        reviewer, letter = self._whose(token)
        if self.people.review.closed(time.time()):
            return self._page(410, "message", text="This review has ended. Thank you.")
        asked = questions(self.people, reviewer, letter)
        votes = (row for row in self.people.review.votes() if row["reviewer"] == reviewer)
        given = {row["item"]: row["answer"] for row in votes}
        thanks = "thanks" in request.args
        return self._page(200, "thanks" if thanks else "asking", asked=asked, given=given, token=token)

    def vote(self, request: Request, token: str) -> Response:
        reviewer, letter = self._whose(token)
        asked = questions(self.people, reviewer, letter)
        given = {each.item: said for each in asked if (said := request.form.get(f"q{each.number}", "").strip())}
        self.people.review.cast([Ballot(reviewer, letter, given, "page", time.time())])
        return Response(status=303, headers={"Location": f"/{token}?thanks"})

    def picture(self, request: Request, token: str, picture: str) -> Response:
        asked = questions(self.people, *self._whose(token))
        if picture not in [file for each in asked for _, file in each.pictures]:
            raise NotFound
        return Response(self.people.review.picture(picture), mimetype="image/png")

    def ask_to_leave(self, request: Request, token: str) -> Response:
        self._whose(token)
        return self._page(200, "leaving", token=token)

    def leave(self, request: Request, token: str) -> Response:
        self.people.leave(self._whose(token)[0])
        return self._page(200, "message", text="You will get no more mail of this review.")


class _Quiet(WSGIRequestHandler):
    """Notes no requests, as their addresses are secrets; lets nobody wait for ever."""

    timeout = TIMEOUT

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def server(people: People, host: str, port: int) -> BaseWSGIServer:
    """Return a server for the page, which listens already, but does not answer yet.

    Raises:
        OSError: if the port is taken.
    """
    return make_server(host, port, Page(people), threaded=True, request_handler=_Quiet)
