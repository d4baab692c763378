"""DoorPages: what the console shows of one door: guard's page, visitor screen, and their parts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mask_gate.gate.console.chart import draw_chart
from mask_gate.gate.console.config import Timeouts
from mask_gate.gate.console.door_state import DoorState
from mask_gate.gate.console.event_views import (
    EVENT_TYPES,
    as_csv,
    event_json,
    requested_filter,
    requested_period,
    requested_width,
    state_changes,
)
from mask_gate.gate.console.live_status import PARTS
from mask_gate.gate.console.login import Role, Sessions
from mask_gate.gate.console.order_form import OrderForm
from mask_gate.gate.console.periods import Period, bars_of, counts_csv
from mask_gate.gate.console.pictures import LivePictures, PictureKind, PictureStream, View
from mask_gate.gate.console.templates import TemplateRenderer
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Reason, State, door_state

EVENTS_SHOWN = 200
HISTORY_SHOWN = 12

PEOPLE = frozenset({Role.VISITOR, Role.GUARD})
GUARD = frozenset({Role.GUARD})

Endpoint = Callable[[Request], Awaitable[Response]]


class RouteEntry(NamedTuple):
    """One line of the table of routes.

    Attributes:
        method: of HTTP.
        path: of the URL.
        roles: who may ask.
        endpoint: answers.
        is_page: whether whoever is not logged in is asked for the password, instead of refused.
    """

    method: str
    path: str
    roles: frozenset[Role]
    endpoint: Endpoint
    is_page: bool = False


@dataclass(frozen=True, slots=True)
class DoorContext:
    """A door, as the console's process knows it.

    Attributes:
        name: of the door; empty where there is only one.
        gate: what it is called in events, audit and topics.
        config: of the door, without secrets.
        state: what is known of it.
        pictures: for whoever looks.
        zone: polygon in fractions of the picture.
    """

    name: str
    gate: str
    config: object
    state: DoorState
    pictures: LivePictures
    zone: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """The first part of each path of this door; empty for an only door."""
        return f"/doors/{self.name}" if self.name else ""


class DoorPages:
    """Answers the requests about one door.

    Args:
        context: the door.
        renderer: fills the templates.
        sessions: live pictures end with the session of their viewer.
        cookie: name of the session cookie.
        timeouts: how long viewers are waited for.
        order_form: takes guards' orders, where they may give some.
    """

    def __init__(
        self,
        context: DoorContext,
        renderer: TemplateRenderer,
        sessions: Sessions,
        cookie: str,
        timeouts: Timeouts,
        order_form: OrderForm | None = None,
    ) -> None:
        self._context = context
        self._state, self._pictures = context.state, context.pictures
        self._renderer = renderer
        self._sessions = sessions
        self._cookie = cookie
        self._slow_viewer_s = timeouts.slow_viewer_s
        self._order_form = order_form

    def table(self) -> Iterator[RouteEntry]:
        """Every route of this door."""
        path = self._context.path
        yield RouteEntry("GET", f"{path}/", GUARD, self.guard_page, is_page=True)
        yield RouteEntry("GET", f"{path}/kiosk", PEOPLE, self.visitor_screen, is_page=True)
        yield RouteEntry("GET", f"{path}/aim", GUARD, self.aim_page, is_page=True)
        yield RouteEntry("GET", f"{path}/live.mjpg", GUARD, self.guard_pictures)
        yield RouteEntry("GET", f"{path}/aim.mjpg", GUARD, self.aim_pictures)
        yield RouteEntry("GET", f"{path}/kiosk.mjpg", PEOPLE, self.visitor_pictures)
        yield RouteEntry("GET", f"{path}/api/state", GUARD, self.guard_state)
        yield RouteEntry("GET", f"{path}/api/aim", GUARD, self.aim_state)
        yield RouteEntry("GET", f"{path}/api/kiosk", PEOPLE, self.visitor_state)
        yield RouteEntry("GET", f"{path}/api/chart.svg", GUARD, self.chart)
        yield RouteEntry("GET", f"{path}/api/events", GUARD, self.events)
        yield RouteEntry("GET", f"{path}/counts.csv", GUARD, self.counts)
        yield RouteEntry("GET", f"{path}/events.csv", GUARD, self.events_csv)
        yield RouteEntry("GET", f"{path}/events.json", GUARD, self.events_json)
        if self._order_form is not None:
            yield RouteEntry("POST", f"{path}/orders", GUARD, self._order_form.take)
        if self._context.name:
            yield RouteEntry("GET", f"{path}/tile.jpg", GUARD, self.tile)

    # ------------------------------------------------------------------------ pages

    async def guard_page(self, request: Request) -> Response:
        """The guard's page."""
        config = yaml.safe_dump(self._context.config, sort_keys=False, allow_unicode=True)
        return self._renderer.page(
            request,
            "guard.html",
            gate=self._context.gate,
            is_one_of_several=bool(self._context.name),
            config=config,
            types=EVENT_TYPES,
            periods=list(Period),
            states=list(State),
            reasons=list(Reason),
            gate_parts=list(PARTS),
            order=None if self._order_form is None else self._order_form.fields(request),
            lockdown=self._state.lockdown,
        )

    async def visitor_screen(self, request: Request) -> Response:
        """The visitor screen."""
        return self._renderer.page(
            request, "visitor_screen.html", gate=self._context.gate, states=list(State)
        )

    async def aim_page(self, request: Request) -> Response:
        """The page for whoever puts the camera up."""
        return self._renderer.page(
            request,
            "aim.html",
            gate=self._context.gate,
            door=self._context.name,
            zone=json.dumps(self._context.zone),
        )

    # ------------------------------------------------------------------------ pictures

    async def guard_pictures(self, request: Request) -> Response:
        """Live pictures for the guard."""
        return self._stream(request, PictureKind.GUARD)

    async def aim_pictures(self, request: Request) -> Response:
        """Live pictures with the size of each face."""
        return self._stream(request, PictureKind.AIM)

    async def visitor_pictures(self, request: Request) -> Response:
        """Live pictures for the visitor screen."""
        return self._stream(request, PictureKind.VISITOR)

    async def tile(self, request: Request) -> Response:
        """One small picture, for a page that shows all doors."""
        jpeg = await self._pictures.tile(self._renderer.texts(request).code)
        if jpeg is None:
            return PlainTextResponse("there is no picture", 503)
        return Response(jpeg, media_type="image/jpeg")

    def _stream(self, request: Request, kind: PictureKind) -> Response:
        view = View(kind, self._renderer.texts(request).code)
        if not self._pictures.admit(view):
            return PlainTextResponse("too many viewers", 503, {"retry-after": "10"})
        token = request.cookies.get(self._cookie)
        return PictureStream(
            self._pictures,
            view,
            lambda: self._sessions.role(token) is not Role.NOBODY,
            self._slow_viewer_s,
        )

    # ------------------------------------------------------------------------ state

    async def guard_state(self, request: Request) -> Response:
        """Everything that changes on the guard's page."""
        state, texts = self._state, self._renderer.texts(request)
        newest = next(state.events.newest_first(), None)
        changes = itertools.islice(state_changes(state.events.newest_first()), HISTORY_SHOWN)
        return JSONResponse(
            {
                **door_summary(state, texts),
                "faces": state.live.faces,
                "uptime_s": round(state.uptime_s),
                "lockdown": state.lockdown,
                "history": [event_json(event, texts) for event in changes],
                "newest": None if newest is None else newest.get("id"),
            }
        )

    async def aim_state(self, request: Request) -> Response:
        """How the camera is placed, while somebody watches the pictures that show it."""
        texts, report = self._renderer.texts(request), self._pictures.aim_report()
        live = self._state.live
        faults = []
        if live.is_fresh and live.state is State.FAULT:
            faults.append(texts.reasons[live.reason])
        if report is None:
            return JSONResponse({"facts": [], "advice": [*faults, texts.aim["no_picture"]]})
        advice = [*faults, *report.advice_in(texts)]
        return JSONResponse({"facts": report.facts_in(texts), "advice": advice})

    async def visitor_state(self, request: Request) -> Response:
        """Everything that changes on the visitor screen."""
        return JSONResponse(state_and_advice(self._state, self._renderer.texts(request)))

    async def chart(self, request: Request) -> Response:
        """People by class, and by hour, day or week."""
        texts, period = self._renderer.texts(request), requested_period(request)
        svg = draw_chart(
            bars_of(self._state.today, period),
            texts.page["people_seen"],
            texts,
            requested_width(request),
        )
        return Response(svg, media_type="image/svg+xml")

    async def counts(self, request: Request) -> Response:
        """What was counted on each day of a period, for a spreadsheet."""
        text = counts_csv(self._state.today, requested_period(request))
        return self._download(text, "text/csv; charset=utf-8", "csv", "counts")

    # ------------------------------------------------------------------------ events

    async def events(self, request: Request) -> Response:
        """The newest events that pass the filter of the request, with texts."""
        texts = self._renderer.texts(request)
        found = self._state.events.newest_first(requested_filter(request))
        shown = itertools.islice(found, EVENTS_SHOWN)
        return JSONResponse([event_json(event, texts) for event in shown])

    async def events_csv(self, request: Request) -> Response:
        """The events that pass the filter of the request, for a spreadsheet."""
        text = as_csv(self._state.events.newest_first(requested_filter(request)))
        return self._download(text, "text/csv; charset=utf-8", "csv")

    async def events_json(self, request: Request) -> Response:
        """The events that pass the filter of the request, with all their fields."""
        found = list(self._state.events.newest_first(requested_filter(request)))
        return self._download(json.dumps(found, indent=1), "application/json", "json")

    def _download(self, text: str, media_type: str, suffix: str, what: str = "events") -> Response:
        name = "-".join(filter(None, ("mask-gate", what, self._context.name)))
        headers = {"content-disposition": f'attachment; filename="{name}.{suffix}"'}
        return Response(text, media_type=media_type, headers=headers)


def state_and_advice(door: DoorState, texts: Texts) -> dict[str, object]:
    """What a visitor is told; a gate that is silent is out of order, whatever it said last."""
    live = door.live
    is_fresh = live.is_fresh
    state, reason = live.state, live.reason
    if live.is_starting:
        state = State.CHECKING
    elif not is_fresh:
        state, reason = State.FAULT, Reason.STOPPING
    return {
        "fresh": is_fresh,
        "state": state,
        "state_text": texts.states[state],
        "reason": live.reason,
        "advice_text": texts.advice_for(reason, is_slow=live.is_slow),
    }


def door_summary(door: DoorState, texts: Texts) -> dict[str, object]:
    """What a guard wants to know of a door at a glance."""
    live = door.live
    is_heard = live.is_fresh or live.is_starting
    door_word = door_state(live.is_open)
    return {
        **state_and_advice(door, texts),
        "reason_text": texts.reasons[live.reason] if is_heard else texts.page["no_news"],
        "door": door_word,
        "door_text": texts.page[door_word],
        "fps": round(live.fps, 1) if live.is_fresh else 0.0,
        "latency_ms": round(live.latency_ms),
        "openings": door.today.openings,
        "denials": door.today.denials,
        "health": {
            part: {"is": health, "text": texts.page[health]} for part, health in live.health.items()
        },
    }
