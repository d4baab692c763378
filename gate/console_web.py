"""The console's pages: who may ask for what, and the answers.

One table says it all; whatever is not in it does not exist. Nothing here opens the door, and
nothing changes the configuration: the only requests that change anything are login and logout.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gate.console_access import Doorman, Role
from gate.console_board import PARTS, Board, Filter, local_time
from gate.console_chart import draw_chart
from gate.console_metrics import Metrics
from gate.console_pictures import SLOW_S, Audience, Pictures
from gate.domain import Reason, State
from gate.events import Event
from gate.words import ASSETS, Words

PAGES = ASSETS / "console"
COOKIE, LANGUAGE_COOKIE = "mask-gate-session", "mask-gate-language"

EVENT_TYPES = ("decision", "signal", "fault")
EVENTS_SHOWN = 200
HISTORY_SHOWN = 12

OWN_NAMES = ("localhost", "127.0.0.1", "::1")
"""Of every machine; what is said of them is said of all its programs."""

ANYBODY = frozenset(Role)
PEOPLE = frozenset({Role.VISITOR, Role.GUARD})
GUARD = frozenset({Role.GUARD})

STATIC: Mapping[str, tuple[Path, str]] = {
    "style.css": (PAGES / "style.css", "text/css; charset=utf-8"),
    "guard.js": (PAGES / "guard.js", "text/javascript; charset=utf-8"),
    "kiosk.js": (PAGES / "kiosk.js", "text/javascript; charset=utf-8"),
    "korean-bold.otf": (ASSETS / "fonts" / "korean-bold.otf", "font/otf"),
}

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none, browsers name no origin of a form either
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_ENCRYPTED_ONLY = "max-age=31536000"  # a year, for this name alone
_MOST_BODY = 4096
_BOUNDARY = b"mask-gate-picture"
_COLUMNS = (
    "ts", "type", "state", "reason", "door", "faces", "labels", "latency_ms", "id", "gate", "model",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")


@dataclass(frozen=True, slots=True)
class Site:
    """What the console is about.

    Attributes:
        config: of the gate, as it may be shown.
        languages: by code; the first is the one of the gate.
        names: hosts it may be asked for by.
        encrypted: whether browsers speak TLS.
    """

    gate: str
    config: Mapping[str, object]
    languages: Mapping[str, Words]
    names: frozenset[str]
    encrypted: bool

    @property
    def cookie(self) -> str:
        """Name of the session's cookie: browsers do not keep those of two ports apart."""
        return f"{COOKIE}-{self.gate}"


class BadRequestError(Exception):
    """A request that cannot be answered, and why."""


Endpoint = Callable[[Request], Awaitable[Response]]


class Pages:
    """The answers.

    Args:
        site: what it is about.
        board: what is known of the gate.
        pictures: for those who look.
        doorman: who gets in.
    """

    def __init__(self, site: Site, board: Board, pictures: Pictures, doorman: Doorman) -> None:
        self._site = site
        self._board = board
        self._pictures = pictures
        self._doorman = doorman
        self._metrics = Metrics(board, pictures, site.gate)
        self._checking = asyncio.Lock()
        self._templates = Environment(
            loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined
        )
        self.table: tuple[tuple[str, str, frozenset[Role], Endpoint], ...] = (
            ("GET", "/", GUARD, self.guard),
            ("GET", "/kiosk", PEOPLE, self.kiosk),
            ("GET", "/login", ANYBODY, self.login_page),
            ("POST", "/login", ANYBODY, self.log_in),
            ("POST", "/logout", PEOPLE, self.log_out),
            ("GET", "/live.mjpg", GUARD, self.live),
            ("GET", "/kiosk.mjpg", PEOPLE, self.kiosk_live),
            ("GET", "/api/state", GUARD, self.state),
            ("GET", "/api/kiosk", PEOPLE, self.kiosk_state),
            ("GET", "/api/chart.svg", GUARD, self.chart),
            ("GET", "/api/events", GUARD, self.events),
            ("GET", "/events.csv", GUARD, self.events_csv),
            ("GET", "/events.json", GUARD, self.events_json),
            ("GET", "/healthz", ANYBODY, self.healthz),
            ("GET", "/metrics", frozenset({Role.GUARD, Role.SCRAPER}), self.metrics),
            *(("GET", f"/static/{name}", ANYBODY, self.static) for name in STATIC),
        )

    def app(self) -> ASGIApp:
        """The pages behind their gatekeeper."""
        routes = [Route(path, endpoint, methods=[how]) for how, path, _, endpoint in self.table]
        roles = {(how, path): allowed for how, path, allowed, _ in self.table}
        inner = Starlette(routes=routes, exception_handlers={BadRequestError: _bad_request})
        return Gatekeeper(inner, roles, self._site, self._doorman)

    # ------------------------------------------------------------------------ pages

    async def guard(self, request: Request) -> Response:
        """The guard's page."""
        config = yaml.safe_dump(dict(self._site.config), sort_keys=False, allow_unicode=True)
        return self._page(
            request,
            "guard.html",
            config=config,
            types=EVENT_TYPES,
            states=list(State),
            reasons=list(Reason),
            gate_parts=list(PARTS),
        )

    async def kiosk(self, request: Request) -> Response:
        """The visitor's page."""
        return self._page(request, "kiosk.html", states=list(State))

    async def login_page(self, request: Request) -> Response:
        """Where to give the password."""
        return self._page(request, "login.html", complaint="")

    async def log_in(self, request: Request) -> Response:
        """Take a password; the right one is answered with a session."""
        words = self._words(request)
        address = request.client.host if request.client else ""
        limit = self._doorman.limit
        async with self._checking:  # one at a time: each takes 32 MiB
            if (wait_s := limit.wait_s(address)) > 0:
                answer = self._page(request, "login.html", 429, complaint=words.page["locked_out"])
                answer.headers["retry-after"] = str(math.ceil(wait_s))
                return answer
            form = parse_qs((await _body(request)).decode("utf-8", "replace"), max_num_fields=5)
            limit.failed(address)
            given = form.get("password", [""])[0]
            role = await asyncio.to_thread(self._doorman.role_of, given)
            if role is Role.NOBODY:
                return self._page(request, "login.html", 401, complaint=words.page["bad_login"])
            limit.succeeded(address)
        sessions = self._doorman.sessions
        sessions.end(request.cookies.get(self._site.cookie))
        response = RedirectResponse("/kiosk" if role is Role.VISITOR else "/", 303)
        response.set_cookie(
            self._site.cookie,
            sessions.begin(role),
            max_age=int(sessions.lives_s),
            secure=self._site.encrypted,
            httponly=True,
            samesite="strict",
        )
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session, here and in the browser."""
        self._doorman.sessions.end(request.cookies.get(self._site.cookie))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(self._site.cookie)
        return response

    async def static(self, request: Request) -> Response:
        """A file that is the same for all."""
        path, kind = STATIC[request.url.path.removeprefix("/static/")]
        return Response(path.read_bytes(), media_type=kind)

    # ------------------------------------------------------------------------ answers

    async def live(self, request: Request) -> Response:
        """The guard's picture."""
        return self._stream(request, Audience.GUARD)

    async def kiosk_live(self, request: Request) -> Response:
        """The visitor's picture."""
        return self._stream(request, Audience.VISITOR)

    async def state(self, request: Request) -> Response:
        """Everything the guard's page shows of the moment, in words."""
        board, words = self._board, self._words(request)
        newest = next(board.events(), None)
        stretches = itertools.islice(_stretches(board.events()), HISTORY_SHOWN)
        return JSONResponse(
            {
                **self._moment(words),
                "reason_text": words.reasons[board.reason],
                "door": "open" if board.is_open else "closed",
                "door_text": words.page["open" if board.is_open else "closed"],
                "faces": board.faces,
                "fps": round(board.fps, 1),
                "latency_ms": round(board.latency_ms),
                "uptime_s": round(board.uptime_s),
                "openings": board.openings_today,
                "denials": board.denials_today,
                "health": {
                    part: {"is": health, "text": words.page[health]}
                    for part, health in board.health.items()
                },
                "history": [_told(event, words) for event in stretches],
                "newest": None if newest is None else newest.get("id"),
            }
        )

    async def kiosk_state(self, request: Request) -> Response:
        """What a visitor is told."""
        return JSONResponse(self._moment(self._words(request)))

    async def chart(self, request: Request) -> Response:
        """People by hour and class."""
        svg = draw_chart(self._board.people_by_hour(), self._words(request))
        return Response(svg, media_type="image/svg+xml")

    async def events(self, request: Request) -> Response:
        """The newest events that pass the filter, in words."""
        words, shown = self._words(request), []
        for event in self._board.events(_filter(request)):
            shown.append(_told(event, words))
            if len(shown) == EVENTS_SHOWN:
                break
        return JSONResponse(shown)

    async def events_csv(self, request: Request) -> Response:
        """The events that pass the filter, for a spreadsheet."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(_COLUMNS)
        for event in self._board.events(_filter(request)):
            row = {**event, "labels": json.dumps(_labels(event))}
            writer.writerow([_cell(row.get(column)) for column in _COLUMNS])
        return _download(file.getvalue(), "text/csv; charset=utf-8", "mask-gate-events.csv")

    async def events_json(self, request: Request) -> Response:
        """The events that pass the filter, whole."""
        text = json.dumps(list(self._board.events(_filter(request))), indent=1)
        return _download(text, "application/json", "mask-gate-events.json")

    async def healthz(self, request: Request) -> Response:
        """Whether the gate does its work; a word, for everybody."""
        well = self._board.is_well
        return JSONResponse({"status": "ok" if well else "fault"}, 200 if well else 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # ------------------------------------------------------------------------ parts

    def _moment(self, words: Words) -> dict[str, object]:
        """State and advice; a gate that is silent is out of order, whatever it said last."""
        board = self._board
        fresh = board.is_fresh
        state = board.state if fresh else State.FAULT
        reason = board.reason if fresh else Reason.STOPPING
        return {
            "fresh": fresh,
            "state": state,
            "state_text": words.states[state],
            "reason": board.reason,
            "advice_text": words.advice[reason],
        }

    def _stream(self, request: Request, audience: Audience) -> Response:
        if not self._pictures.admit(audience):
            return PlainTextResponse("too many viewers", 503, {"retry-after": "10"})
        token = request.cookies.get(self._site.cookie)
        sessions = self._doorman.sessions
        return PictureStream(
            self._pictures, audience, lambda: sessions.role(token) is not Role.NOBODY
        )

    def _words(self, request: Request) -> Words:
        """The language asked for, else the browser's, else the gate's."""
        languages = self._site.languages
        asked = [request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)]
        heard = request.headers.get("accept-language", "")
        asked += [part.split(";")[0].split("-")[0].strip() for part in heard.split(",")[:5]]
        if not any(code in languages for code in asked[:2]):
            asked.insert(2, next(iter(languages)))
        return next(languages[code] for code in asked if code is not None and code in languages)

    def _page(self, request: Request, name: str, status: int = 200, **more: object) -> Response:
        words = self._words(request)
        text = self._templates.get_template(name).render(
            words=words,
            page=words.page,
            gate=self._site.gate,
            languages=self._site.languages,
            **more,
        )
        response = Response(text, status, media_type="text/html; charset=utf-8")
        if request.query_params.get("lang") in self._site.languages:
            response.set_cookie(
                LANGUAGE_COOKIE,
                words.code,
                max_age=365 * 86400,
                secure=self._site.encrypted,
                httponly=True,
                samesite="strict",
            )
        return response


class Gatekeeper:
    """Lets through what the table allows; sets the headers of every answer.

    Args:
        app: the pages.
        roles: who may ask for what, by method and path.
        site: by which names it may be asked.
        doorman: knows sessions and tokens.
    """

    def __init__(
        self,
        app: ASGIApp,
        roles: Mapping[tuple[str, str], frozenset[Role]],
        site: Site,
        doorman: Doorman,
    ) -> None:
        self._app = app
        self._roles = roles
        self._site = site
        self._doorman = doorman

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # no websockets, nothing to start or end

        request = Request(scope)
        name = _host_name(request.headers.get("host", ""))
        of_tls = self._site.encrypted and name in self._site.names and name not in OWN_NAMES

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for header, value in _HEADERS.items():
                    headers[header] = value
                if of_tls:
                    headers["strict-transport-security"] = _ENCRYPTED_ONLY
            await send(message)

        refusal = self._refusal(request)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        host = headers.get("host", "")
        if _host_name(host) not in self._site.names:
            return PlainTextResponse("this host name is not known here; see console.names", 421)
        method = "GET" if request.method == "HEAD" else request.method
        scheme = "https" if self._site.encrypted else "http"
        if method != "GET" and headers.get("origin") != f"{scheme}://{host}":
            return PlainTextResponse("this was not asked by a page of ours", 403)
        path = request.url.path
        allowed = self._roles.get((method, path), frozenset())
        role = self._role(request)
        if role in allowed:
            return None
        if role is Role.NOBODY:
            if path in ("/", "/kiosk") and method == "GET":
                return RedirectResponse("/login", 303)
            return PlainTextResponse("log in first", 401)
        if allowed:
            return PlainTextResponse("this is not for you", 403)
        return PlainTextResponse("there is no such page", 404)

    def _role(self, request: Request) -> Role:
        role = self._doorman.sessions.role(request.cookies.get(self._site.cookie))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if role is Role.NOBODY and scheme.lower() == "bearer" and self._doorman.is_scraper(token):
            return Role.SCRAPER
        return role


class PictureStream(Response):
    """Pictures one after the other (MJPEG), until the viewer leaves, is slow, or is logged out.

    Args:
        pictures: has admitted the viewer.
        audience: which kind of picture.
        may_look: whether the session is still good.
    """

    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"

    def __init__(
        self, pictures: Pictures, audience: Audience, may_look: Callable[[], bool]
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._pictures = pictures
        self._audience = audience
        self._may_look = may_look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send pictures; a viewer that has gone is noticed at once."""
        gone = asyncio.create_task(_gone(receive))
        sender = asyncio.create_task(self._send_all(send, is_head=scope["method"] == "HEAD"))
        try:
            await asyncio.wait({gone, sender}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sender):
                task.cancel()
            self._pictures.leave(self._audience)
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await sender

    async def _send_all(self, send: Send, *, is_head: bool) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        number = 0
        while not is_head and self._may_look():
            number, jpeg = await self._pictures.after(number, self._audience)
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            part = head % (_BOUNDARY, len(jpeg)) + jpeg + b"\r\n"
            async with asyncio.timeout(SLOW_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    """A short body.

    Raises:
        BadRequestError: it is longer than any form of ours.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY:
            raise BadRequestError(f"expected at most {_MOST_BODY} bytes")
    return body


async def _bad_request(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400)


def _host_name(host: str) -> str:
    """A host without its port, as `localhost:8321`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _filter(request: Request) -> Filter:
    """Which events are asked for.

    Raises:
        BadRequestError: there are no such ones.
    """
    asked = request.query_params
    for key, known in (("type", EVENT_TYPES), ("state", tuple(State)), ("reason", tuple(Reason))):
        if asked.get(key) and asked[key] not in known:
            raise BadRequestError(f"{key}: expected one of {', '.join(known)}")
    for key in ("from", "to"):
        if asked.get(key) and not _LOCAL_TIME.fullmatch(asked[key]):
            raise BadRequestError(f"{key}: expected a time as 2026-05-01T08:00")
    until = asked.get("to", "")
    return Filter(
        since=asked.get("from", ""),
        until=until + "~" if until else "",  # up to the end of that minute, or of that day
        type=asked.get("type", ""),
        state=asked.get("state", ""),
        reason=asked.get("reason", ""),
    )


def _stretches(events: Iterator[Event]) -> Iterator[Event]:
    """What each stretch of one state and reason began with; newest first, as they come."""
    for _, stretch in itertools.groupby(events, lambda event: (event["state"], event["reason"])):
        *_, first = stretch
        yield first


def _told(event: Event, words: Words) -> dict[str, object]:
    """An event as the guard's page shows it."""
    state, reason = State(str(event["state"])), Reason(str(event["reason"]))
    return {
        "id": event.get("id"),
        "time": local_time(event).replace("T", " "),
        "type": event.get("type"),
        "state": state,
        "state_text": words.states[state],
        "reason_text": words.reasons[reason],
        "door_text": words.page["open" if event.get("door") == "open" else "closed"],
        "faces": event.get("faces"),
    }


def _labels(event: Event) -> dict[str, int]:
    tracks = event.get("tracks")
    listed: Iterable[Mapping[str, object]] = tracks if isinstance(tracks, list) else ()
    return dict(Counter(str(track.get("label")) for track in listed if track.get("label")))


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _download(text: str, kind: str, name: str) -> Response:
    shown = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=kind, headers=shown)
