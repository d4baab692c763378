"""DoorPages: what the console shows of one door: guard's page, visitor's page, and their parts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mask_gate.gate.console.chart import draw_chart
from mask_gate.gate.console.door_state import PARTS, DoorState
from mask_gate.gate.console.event_views import EVENT_TYPES, as_csv, asked_for, stretches, told
from mask_gate.gate.console.login import Role, Sessions
from mask_gate.gate.console.pictures import Audience, Pictures
from mask_gate.gate.console.stream import PictureStream
from mask_gate.gate.console.templates import TemplateRenderer
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Reason, State, door_state

EVENTS_SHOWN = 200
HISTORY_SHOWN = 12

PEOPLE = frozenset({Role.VISITOR, Role.GUARD})
GUARD = frozenset({Role.GUARD})

Endpoint = Callable[[Request], Awaitable[Response]]


class Entry(NamedTuple):
    """One line of the table of routes.

    Attributes:
        is_page: for people, who are asked for the password rather than refused.
    """

    how: str
    path: str
    roles: frozenset[Role]
    endpoint: Endpoint
    is_page: bool = False


@dataclass(frozen=True, slots=True)
class DoorContext:
    """A door, as the console's process knows it.

    Attributes:
        name: of the door; empty where there is one.
        gate: what it is called in events, record and topics.
        config: of the door, as it may be shown.
        state: what is known of it.
        pictures: for those who look.
    """

    name: str
    gate: str
    config: Mapping[str, object]
    state: DoorState
    pictures: Pictures

    @property
    def path(self) -> str:
        """Before the path of everything that is this door's; the only door has the whole site."""
        return f"/doors/{self.name}" if self.name else ""


class DoorPages:
    """The answers of one door.

    Args:
        context: the door.
        renderer: what pages are written on.
        sessions: end the pictures of whoever logs out.
        cookie: what those are known by.
    """

    def __init__(
        self, context: DoorContext, renderer: TemplateRenderer, sessions: Sessions, cookie: str
    ) -> None:
        self._context = context
        self._state, self._pictures = context.state, context.pictures
        self._renderer = renderer
        self._sessions = sessions
        self._cookie = cookie

    def table(self) -> Iterator[Entry]:
        """Every route of this door."""
        path = self._context.path
        yield Entry("GET", f"{path}/", GUARD, self.guard, is_page=True)
        yield Entry("GET", f"{path}/kiosk", PEOPLE, self.kiosk, is_page=True)
        yield Entry("GET", f"{path}/live.mjpg", GUARD, self.live)
        yield Entry("GET", f"{path}/kiosk.mjpg", PEOPLE, self.kiosk_live)
        yield Entry("GET", f"{path}/api/state", GUARD, self.state)
        yield Entry("GET", f"{path}/api/kiosk", PEOPLE, self.kiosk_state)
        yield Entry("GET", f"{path}/api/chart.svg", GUARD, self.chart)
        yield Entry("GET", f"{path}/api/events", GUARD, self.events)
        yield Entry("GET", f"{path}/events.csv", GUARD, self.events_csv)
        yield Entry("GET", f"{path}/events.json", GUARD, self.events_json)
        if self._context.name:
            yield Entry("GET", f"{path}/tile.jpg", GUARD, self.tile)

    # ------------------------------------------------------------------------ pages

    async def guard(self, request: Request) -> Response:
        """The guard's page."""
        config = yaml.safe_dump(dict(self._context.config), sort_keys=False, allow_unicode=True)
        return self._renderer.page(
            request,
            "guard.html",
            gate=self._context.gate,
            is_one_of_several=bool(self._context.name),
            config=config,
            types=EVENT_TYPES,
            states=list(State),
            reasons=list(Reason),
            gate_parts=list(PARTS),
        )

    async def kiosk(self, request: Request) -> Response:
        """The visitor's page."""
        return self._renderer.page(
            request, "kiosk.html", gate=self._context.gate, states=list(State)
        )

    # ------------------------------------------------------------------------ pictures

    async def live(self, request: Request) -> Response:
        """The guard's picture."""
        return self._stream(request, Audience.GUARD)

    async def kiosk_live(self, request: Request) -> Response:
        """The visitor's picture."""
        return self._stream(request, Audience.VISITOR)

    async def tile(self, request: Request) -> Response:
        """A small picture for a page that has those of all doors."""
        jpeg = await self._pictures.tile()
        if jpeg is None:
            return PlainTextResponse("there is no picture", 503)
        return Response(jpeg, media_type="image/jpeg")

    def _stream(self, request: Request, audience: Audience) -> Response:
        if not self._pictures.admit(audience):
            return PlainTextResponse("too many viewers", 503, {"retry-after": "10"})
        token = request.cookies.get(self._cookie)
        return PictureStream(
            self._pictures, audience, lambda: self._sessions.role(token) is not Role.NOBODY
        )

    # ------------------------------------------------------------------------ answers

    async def state(self, request: Request) -> Response:
        """Everything the guard's page shows of the moment, in words."""
        state, words = self._state, self._renderer.words(request)
        newest = next(state.events(), None)
        shown = itertools.islice(stretches(state.events()), HISTORY_SHOWN)
        return JSONResponse(
            {
                **summary(state, words),
                "faces": state.faces,
                "uptime_s": round(state.uptime_s),
                "history": [told(event, words) for event in shown],
                "newest": None if newest is None else newest.get("id"),
            }
        )

    async def kiosk_state(self, request: Request) -> Response:
        """What a visitor is told."""
        return JSONResponse(moment(self._state, self._renderer.words(request)))

    async def chart(self, request: Request) -> Response:
        """People by hour and class."""
        svg = draw_chart(self._state.people_by_hour(), self._renderer.words(request))
        return Response(svg, media_type="image/svg+xml")

    async def events(self, request: Request) -> Response:
        """The newest events that pass the filter, in words."""
        words = self._renderer.words(request)
        shown = itertools.islice(self._state.events(asked_for(request)), EVENTS_SHOWN)
        return JSONResponse([told(event, words) for event in shown])

    async def events_csv(self, request: Request) -> Response:
        """The events that pass the filter, for a spreadsheet."""
        text = as_csv(self._state.events(asked_for(request)))
        return self._download(text, "text/csv; charset=utf-8", "csv")

    async def events_json(self, request: Request) -> Response:
        """The events that pass the filter, whole."""
        text = json.dumps(list(self._state.events(asked_for(request))), indent=1)
        return self._download(text, "application/json", "json")

    def _download(self, text: str, kind: str, ending: str) -> Response:
        name = "-".join(filter(None, ("mask-gate-events", self._context.name)))
        shown = {"content-disposition": f'attachment; filename="{name}.{ending}"'}
        return Response(text, media_type=kind, headers=shown)


def moment(door: DoorState, words: Texts) -> dict[str, object]:
    """State and advice; a gate that is silent is out of order, whatever it said last."""
    fresh = door.is_fresh
    state, reason = door.state, door.reason
    if door.is_starting:
        state = State.CHECKING
    elif not fresh:
        state, reason = State.FAULT, Reason.STOPPING
    return {
        "fresh": fresh,
        "state": state,
        "state_text": words.states[state],
        "reason": door.reason,
        "advice_text": words.advice[reason],
    }


def summary(state: DoorState, words: Texts) -> dict[str, object]:
    """What a guard wants to know of a door at a glance."""
    is_heard = state.is_fresh or state.is_starting
    return {
        **moment(state, words),
        "reason_text": words.reasons[state.reason] if is_heard else words.page["no_news"],
        "door": door_state(state.is_open),
        "door_text": words.page[door_state(state.is_open)],
        "fps": round(state.fps, 1) if state.is_fresh else 0.0,
        "latency_ms": round(state.latency_ms),
        "openings": state.openings_today,
        "denials": state.denials_today,
        "health": {
            part: {"is": health, "text": words.page[health]}
            for part, health in state.health.items()
        },
    }
