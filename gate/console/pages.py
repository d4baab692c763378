"""Pages: the table of routes, and the answers that are about no single door.

The table lists every request that is answered, and who may send it. Nothing here opens a door or
changes the configuration: the only requests that change anything are login and logout, and where it
is configured a guard's order, which is handed to the gate and judged there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mask_gate.gate.console.config import Timeouts
from mask_gate.gate.console.door_pages import (
    GUARD,
    PEOPLE,
    DoorContext,
    DoorPages,
    RouteEntry,
    door_summary,
)
from mask_gate.gate.console.event_views import BadRequestError, event_json, state_changes
from mask_gate.gate.console.forms import read_form
from mask_gate.gate.console.live_status import PARTS
from mask_gate.gate.console.login import NOBODY, Account, Authenticator, Role
from mask_gate.gate.console.metrics import Metrics
from mask_gate.gate.console.middleware import AccessMiddleware, AccessRules, SiteSettings
from mask_gate.gate.console.order_form import OrderForm
from mask_gate.gate.console.orders import Orders
from mask_gate.gate.console.password_check import PasswordCheck
from mask_gate.gate.console.rate_limit import RateLimiter
from mask_gate.gate.console.recent_events import local_time
from mask_gate.gate.console.templates import TEMPLATES, TemplateRenderer
from mask_gate.gate.display.drawing import FONTS
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import State

ANYBODY = frozenset(Role)
SCRAPERS = frozenset({Role.GUARD, Role.SCRAPER})

STATIC: Mapping[str, tuple[Path, str]] = {
    "favicon.svg": (TEMPLATES / "favicon.svg", "image/svg+xml"),
    "style.css": (TEMPLATES / "style.css", "text/css; charset=utf-8"),
    "aim.js": (TEMPLATES / "aim.js", "text/javascript; charset=utf-8"),
    "doors.js": (TEMPLATES / "doors.js", "text/javascript; charset=utf-8"),
    "guard.js": (TEMPLATES / "guard.js", "text/javascript; charset=utf-8"),
    "kiosk.js": (TEMPLATES / "kiosk.js", "text/javascript; charset=utf-8"),
    "korean-regular.otf": (FONTS / "korean-regular.otf", "font/otf"),
    "korean-bold.otf": (FONTS / "korean-bold.otf", "font/otf"),
}
"""Files that are the same for everybody, by the last part of their path."""

HISTORY_SHOWN = 10
_HISTORY_STATES = frozenset({State.ALLOW, State.DENY, State.FAULT})
"""States in the history of all doors; who is still being looked at is left out."""


class Pages:
    """Answers all requests.

    Args:
        site: what all pages have in common.
        contexts: the doors; an only one has no name.
        authenticator: knows passwords and sessions.
        limiter: refuses requests that are too many.
        timeouts: how long browsers are waited for.
        orders: to the gate, where guards may do something at a door.

    Attributes:
        table: every route.
        order_forms: one of each door, where there are any.
    """

    def __init__(
        self,
        site: SiteSettings,
        contexts: Sequence[DoorContext],
        authenticator: Authenticator,
        limiter: RateLimiter | None = None,
        timeouts: Timeouts | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._site = site
        self._contexts = contexts
        self._authenticator = authenticator
        self._limiter = RateLimiter() if limiter is None else limiter
        timeouts = Timeouts() if timeouts is None else timeouts
        self._form_s = timeouts.login_form_s
        self._renderer = TemplateRenderer(site)
        self._metrics = Metrics(contexts)
        self._check = PasswordCheck(authenticator)
        sessions = authenticator.sessions
        self.order_forms = [
            self._order_form(number, context, orders) for number, context in enumerate(contexts)
        ]
        doors = [
            DoorPages(
                context,
                self._renderer,
                sessions,
                site.cookie,
                timeouts,
                order_form,
            )
            for context, order_form in zip(contexts, self.order_forms, strict=True)
        ]
        self.table = (*self._own_table(), *itertools.chain.from_iterable(d.table() for d in doors))
        self._rules = AccessRules(
            {(entry.method, entry.path): entry.roles for entry in self.table},
            frozenset(entry.path for entry in self.table if entry.is_page),
        )

    def _order_form(
        self, number: int, context: DoorContext, orders: Orders | None
    ) -> OrderForm | None:
        if orders is None:
            return None
        return OrderForm(
            number,
            context.gate,
            self._renderer,
            lambda request: self._authenticator.sessions.account(self._token(request)),
            self._check,
            orders,
            self._form_s,
        )

    def _token(self, request: Request) -> str | None:
        return request.cookies.get(self._site.cookie)

    def _own_table(self) -> Iterator[RouteEntry]:
        """Every route that is about no single door."""
        if any(context.name for context in self._contexts):
            yield RouteEntry("GET", "/", GUARD, self.all_doors, is_page=True)
            yield RouteEntry("GET", "/kiosk", PEOPLE, self.choose_screen, is_page=True)
            yield RouteEntry("GET", "/api/doors", GUARD, self.all_states)
        yield RouteEntry("GET", "/login", ANYBODY, self.login_page)
        yield RouteEntry("POST", "/login", ANYBODY, self.log_in)
        yield RouteEntry("POST", "/logout", PEOPLE, self.log_out)
        yield RouteEntry("GET", "/healthz", ANYBODY, self.healthz)
        yield RouteEntry("GET", "/metrics", SCRAPERS, self.metrics)
        for name in STATIC:
            yield RouteEntry("GET", f"/static/{name}", ANYBODY, self.static)

    def app(self) -> ASGIApp:
        """The pages behind the middleware that checks each request."""
        routes = [Route(entry.path, entry.endpoint, methods=[entry.method]) for entry in self.table]
        inner = Starlette(routes=routes, exception_handlers={BadRequestError: _bad_request})
        return AccessMiddleware(inner, self._rules, self._site, self._authenticator, self._limiter)

    # ------------------------------------------------------------------------ all doors

    async def all_doors(self, request: Request) -> Response:
        """The guard's page with a tile for each door."""
        return self._renderer.page(
            request,
            "doors.html",
            doors=self._contexts,
            states=list(State),
            gate_parts=list(PARTS),
        )

    async def choose_screen(self, request: Request) -> Response:
        """Where whoever sets up a visitor screen says at which door it stands."""
        return self._renderer.page(request, "screens.html", doors=self._contexts)

    async def all_states(self, request: Request) -> Response:
        """Everything that changes on the page of all doors."""
        texts = self._renderer.texts(request)
        doors = {
            context.name: {
                **door_summary(context.state, texts),
                "people": context.state.today.people,
            }
            for context in self._contexts
        }
        return JSONResponse({"doors": doors, "history": self._history(texts)})

    def _history(self, texts: Texts) -> list[dict[str, object]]:
        """The newest changes of all doors, newest first."""
        found = []
        for context in self._contexts:
            changes = state_changes(context.state.events.newest_first())
            shown = (event for event in changes if event["state"] in _HISTORY_STATES)
            newest = itertools.islice(shown, HISTORY_SHOWN)
            found += [(local_time(event), context.name, event) for event in newest]
        found.sort(key=lambda line: line[0], reverse=True)
        return [{**event_json(event, texts), "name": name} for _, name, event in found][
            :HISTORY_SHOWN
        ]

    # ------------------------------------------------------------------------ login

    async def login_page(self, request: Request) -> Response:
        """The page that asks for the password."""
        return self._login_page(request, request.query_params.get("to", ""))

    async def log_in(self, request: Request) -> Response:
        """Take a password; the right one is answered with a session."""
        address = request.client.host if request.client else ""
        page = self._renderer.texts(request).page
        # Read before the lock is taken: a form that does not come must not keep others waiting.
        form = await read_form(request, self._form_s)
        password, name, to = (form.get(key, "") for key in ("password", "name", "to"))
        accounts = self._authenticator.accounts(name)
        checked = await self._check.check(address, accounts, password)
        if checked.account != NOBODY:
            return self._begin_session(request, checked.account, address, to)
        if checked.wait_s > 0:  # perhaps it is the right one, and was not looked at
            answer = self._login_page(request, "", 429, complaint=page["locked_out"])
            answer.headers["retry-after"] = str(math.ceil(checked.wait_s))
            return answer
        return self._login_page(request, to, 401, complaint=page["bad_login"])

    def _begin_session(self, request: Request, account: Account, address: str, to: str) -> Response:
        """Lead to the page that was asked for, or to the first one of the role."""
        sessions, role = self._authenticator.sessions, account.role
        sessions.end(self._token(request))
        home = "/kiosk" if role is Role.VISITOR else "/"
        response = RedirectResponse(to if self._rules.may_see(role, to) else home, 303)
        response.set_cookie(
            self._site.cookie,
            sessions.begin(account, address),
            max_age=int(sessions.lives_s),
            secure=self._site.encrypted,
            httponly=True,
            samesite="strict",
        )
        return response

    def _login_page(
        self, request: Request, to: str, status: int = 200, complaint: str = ""
    ) -> Response:
        to = to if to in self._rules.pages else ""
        return self._renderer.page(
            request,
            "login.html",
            status,
            to=to,
            complaint=complaint,
            has_names=self._authenticator.has_names,
        )

    async def log_out(self, request: Request) -> Response:
        """End the session, here and in the browser."""
        self._authenticator.sessions.end(self._token(request))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(self._site.cookie)
        return response

    # ------------------------------------------------------------------------ for machines

    async def static(self, request: Request) -> Response:
        """A file that is the same for everybody."""
        path, media_type = STATIC[request.url.path.removeprefix("/static/")]
        return Response(path.read_bytes(), media_type=media_type)

    async def healthz(self, request: Request) -> Response:
        """Whether every door does its work, in one word for everybody."""
        is_well = all(context.state.live.is_well for context in self._contexts)
        return JSONResponse({"status": "ok" if is_well else "fault"}, 200 if is_well else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _bad_request(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400)
