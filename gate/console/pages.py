"""The console's pages: who may ask for what, and the answers that are of no single door.

One table says it all; whatever is not in it does not exist. Nothing here opens a door, and nothing
changes the configuration: the only requests that change anything are login and logout.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mask_gate.gate.console.door_pages import GUARD, PEOPLE, DoorContext, DoorPages, Entry, summary
from mask_gate.gate.console.door_state import PARTS, local_time
from mask_gate.gate.console.event_views import BadRequestError, stretches, told
from mask_gate.gate.console.login import Authenticator, Role
from mask_gate.gate.console.metrics import Metrics
from mask_gate.gate.console.middleware import AccessMiddleware, Rights, Site
from mask_gate.gate.console.rate_limit import RequestLimit
from mask_gate.gate.console.templates import PAGES, TemplateRenderer
from mask_gate.gate.domain import State
from mask_gate.models.shipped import ASSETS

ANYBODY = frozenset(Role)

STATIC: Mapping[str, tuple[Path, str]] = {
    "style.css": (PAGES / "style.css", "text/css; charset=utf-8"),
    "doors.js": (PAGES / "doors.js", "text/javascript; charset=utf-8"),
    "guard.js": (PAGES / "guard.js", "text/javascript; charset=utf-8"),
    "kiosk.js": (PAGES / "kiosk.js", "text/javascript; charset=utf-8"),
    "korean-bold.otf": (ASSETS / "fonts" / "korean-bold.otf", "font/otf"),
}

HISTORY_SHOWN = 10
_NEWS = frozenset({State.ALLOW, State.DENY, State.FAULT})
"""What a guard of many doors is told to have happened: nothing of who is still being looked at."""

_MOST_BODY = 4096
_BODY_S = 5.0


class Pages:
    """The answers.

    Args:
        site: what all pages have in common.
        contexts: the doors; the only one has no name.
        authenticator: who gets in.
        limit: how many requests are heard out.
    """

    def __init__(
        self,
        site: Site,
        contexts: Sequence[DoorContext],
        authenticator: Authenticator,
        limit: RequestLimit | None = None,
    ) -> None:
        self._site = site
        self._contexts = contexts
        self._authenticator = authenticator
        self._limit = RequestLimit() if limit is None else limit
        self._renderer = TemplateRenderer(site)
        self._metrics = Metrics(contexts)
        self._checking = asyncio.Lock()
        doors = [
            DoorPages(context, self._renderer, authenticator.sessions, site.cookie)
            for context in contexts
        ]
        self.table = (*self._own_table(), *itertools.chain.from_iterable(d.table() for d in doors))
        self._rights = Rights(
            {(entry.how, entry.path): entry.roles for entry in self.table},
            frozenset(entry.path for entry in self.table if entry.is_page),
        )

    def _own_table(self) -> Iterator[Entry]:
        """Every route that is of no single door."""
        if any(context.name for context in self._contexts):
            yield Entry("GET", "/", GUARD, self.doors, is_page=True)
            yield Entry("GET", "/kiosk", PEOPLE, self.screens, is_page=True)
            yield Entry("GET", "/api/doors", GUARD, self.states)
        yield Entry("GET", "/login", ANYBODY, self.login_page)
        yield Entry("POST", "/login", ANYBODY, self.log_in)
        yield Entry("POST", "/logout", PEOPLE, self.log_out)
        yield Entry("GET", "/healthz", ANYBODY, self.healthz)
        yield Entry("GET", "/metrics", frozenset({Role.GUARD, Role.SCRAPER}), self.metrics)
        yield from (Entry("GET", f"/static/{name}", ANYBODY, self.static) for name in STATIC)

    def app(self) -> ASGIApp:
        """The pages behind their gatekeeper."""
        routes = [Route(e.path, e.endpoint, methods=[e.how]) for e in self.table]
        inner = Starlette(routes=routes, exception_handlers={BadRequestError: _bad_request})
        return AccessMiddleware(inner, self._rights, self._site, self._authenticator, self._limit)

    # ------------------------------------------------------------------------ all doors

    async def doors(self, request: Request) -> Response:
        """The guard's page with a tile for each door."""
        return self._renderer.page(
            request,
            "doors.html",
            doors=self._contexts,
            states=list(State),
            gate_parts=list(PARTS),
        )

    async def screens(self, request: Request) -> Response:
        """Where whoever sets up a visitor's screen says at which door it stands."""
        return self._renderer.page(request, "screens.html", doors=self._contexts)

    async def states(self, request: Request) -> Response:
        """Everything the page of all doors shows of the moment, in words."""
        words, history = self._renderer.words(request), []
        for context in self._contexts:
            told_of = (
                event for event in stretches(context.state.events()) if event["state"] in _NEWS
            )
            shown = itertools.islice(told_of, HISTORY_SHOWN)
            history += [(local_time(event), context.name, event) for event in shown]
        history.sort(key=lambda one: one[0], reverse=True)
        return JSONResponse(
            {
                "doors": {
                    context.name: {
                        **summary(context.state, words),
                        "people": context.state.people_today,
                    }
                    for context in self._contexts
                },
                "history": [
                    {**told(event, words), "name": name}
                    for _, name, event in history[:HISTORY_SHOWN]
                ],
            }
        )

    # ------------------------------------------------------------------------ login

    async def login_page(self, request: Request) -> Response:
        """Where to give the password."""
        return self._ask(request, request.query_params.get("to", ""))

    async def log_in(self, request: Request) -> Response:
        """Take a password; the right one is answered with a session."""
        address = request.client.host if request.client else ""
        page = self._renderer.words(request).page
        limit = self._authenticator.limit
        # Before it is anybody's turn: a body that does not come would hold up all others.
        form = parse_qs((await _body(request)).decode("utf-8", "replace"), max_num_fields=5)
        given, to = (form.get(key, [""])[0] for key in ("password", "to"))
        async with self._checking:  # one at a time: each takes 32 MiB
            if (wait_s := limit.wait_s(address)) > 0:
                answer = self._ask(request, "", 429, complaint=page["locked_out"])
                answer.headers["retry-after"] = str(math.ceil(wait_s))
                return answer
            limit.failed(address)
            role = await asyncio.to_thread(self._authenticator.role_of, given)
            if role is Role.NOBODY:
                return self._ask(request, to, 401, complaint=page["bad_login"])
            limit.succeeded(address)
        sessions = self._authenticator.sessions
        sessions.end(request.cookies.get(self._site.cookie))
        home = "/kiosk" if role is Role.VISITOR else "/"
        response = RedirectResponse(to if self._rights.may_see(role, to) else home, 303)
        response.set_cookie(
            self._site.cookie,
            sessions.begin(role),
            max_age=int(sessions.lives_s),
            secure=self._site.encrypted,
            httponly=True,
            samesite="strict",
        )
        return response

    def _ask(self, request: Request, to: str, status: int = 200, complaint: str = "") -> Response:
        """The page that asks for the password; whoever gives it is let go on to `to`."""
        to = to if to in self._rights.pages else ""
        return self._renderer.page(request, "login.html", status, to=to, complaint=complaint)

    async def log_out(self, request: Request) -> Response:
        """End the session, here and in the browser."""
        self._authenticator.sessions.end(request.cookies.get(self._site.cookie))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(self._site.cookie)
        return response

    # ------------------------------------------------------------------------ for machines

    async def static(self, request: Request) -> Response:
        """A file that is the same for all."""
        path, kind = STATIC[request.url.path.removeprefix("/static/")]
        return Response(path.read_bytes(), media_type=kind)

    async def healthz(self, request: Request) -> Response:
        """Whether every door does its work; a word, for everybody."""
        well = all(context.state.is_well for context in self._contexts)
        return JSONResponse({"status": "ok" if well else "fault"}, 200 if well else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _body(request: Request) -> bytes:
    """A short body.

    Raises:
        BadRequestError: it is longer than any form of ours, or does not come.
    """
    body = b""
    try:
        async with asyncio.timeout(_BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > _MOST_BODY:
                    raise BadRequestError(f"expected at most {_MOST_BODY} bytes")
    except TimeoutError:
        raise BadRequestError(f"expected the whole form within {_BODY_S:g} s") from None
    return body


async def _bad_request(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400)
