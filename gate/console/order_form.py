"""OrderForm: the form by which a guard has something done at a door, and what it is answered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.console.event_views import BadRequestError
from mask_gate.gate.console.forms import read_form
from mask_gate.gate.console.login import Account
from mask_gate.gate.console.orders import Orders
from mask_gate.gate.console.password_check import PasswordCheck
from mask_gate.gate.console.templates import TemplateRenderer
from mask_gate.gate.guard_order import (
    MOST_WHY_LETTERS,
    GuardAct,
    GuardOrder,
    Verdict,
    is_why,
)

LET_IN_S = 5.0
"""Nobody is let in later than this after the form came, however long the password took to check."""

_ID = re.compile("[0-9a-f]{32}")
DONE_WORDS = {
    GuardAct.LOCK_DOWN: "was_locked_down",
    GuardAct.END_LOCK_DOWN: "ended_lock_down",
    GuardAct.LET_IN_ONCE: "was_let_in",
}
"""What a page says of an order that was done, by keys of `Texts.page`."""


class OrderForm:
    """Takes orders for one door from guards who have a name and give their password once more.

    Args:
        door: its number.
        gate: what it is called.
        renderer: fills the templates.
        account: who asks.
        check: counts wrong passwords.
        orders: to the gate.
        form_s: the form must be whole in this time.
        clock: that of the gate.
    """

    def __init__(
        self,
        door: int,
        gate: str,
        renderer: TemplateRenderer,
        account: Callable[[Request], Account],
        check: PasswordCheck,
        orders: Orders,
        form_s: float,
        clock: Clock = uptime_s,
    ) -> None:
        self._door = door
        self._gate = gate
        self._renderer = renderer
        self._account = account
        self._check = check
        self._orders = orders
        self._form_s = form_s
        self._clock = clock

    @property
    def may(self) -> frozenset[GuardAct]:
        """What the form offers."""
        return self._orders.may

    def fields(self, request: Request) -> dict[str, object]:
        """What the template of the form needs."""
        return {
            "acts": [act for act in GuardAct if act in self.may],
            "has_name": bool(self._account(request).name),
            "order_id": secrets.token_hex(16),
            "most_letters": MOST_WHY_LETTERS,
        }

    async def take(self, request: Request) -> Response:
        """Take the form, and say what came of it.

        Raises:
            BadRequestError: it is none of ours.
        """
        came_s = self._clock()
        page = self._renderer.texts(request).page
        account = self._account(request)
        form = await read_form(request, self._form_s)
        act, order_id = self._act(form.get("act", "")), form.get("id", "")
        why = form.get("why", "").strip()
        if _ID.fullmatch(order_id) is None:
            raise BadRequestError("id: expected that of the form")
        if not account.name:
            return self._answer(request, 403, page["by_hand_needs_name"])
        if not is_why(why):
            return self._answer(request, 400, page["why_bad"])
        address = request.client.host if request.client else ""
        checked = await self._check.check(address, [account], form.get("password", ""))
        if checked.account != account:
            if checked.wait_s > 0:
                return self._answer(request, 429, page["locked_out"])
            return self._answer(request, 401, page["bad_login"])
        asked_s = self._clock()
        if act is GuardAct.LET_IN_ONCE and asked_s - came_s > LET_IN_S:
            return self._say(request, act, Verdict.TOO_LATE)
        order = GuardOrder(
            id=order_id,
            door=self._door,
            act=act,
            name=account.name,
            why=why,
            asked_s=asked_s,
        )
        return self._say(request, act, await self._orders.give(order))

    def _act(self, text: str) -> GuardAct:
        if text not in self.may:
            raise BadRequestError(f"act: expected one of {', '.join(sorted(self.may))}")
        return GuardAct(text)

    def _say(self, request: Request, act: GuardAct, verdict: Verdict) -> Response:
        texts = self._renderer.texts(request)
        if verdict is Verdict.DONE:
            return self._answer(request, 200, texts.page[DONE_WORDS[act]])
        status = 503 if verdict is Verdict.NO_ANSWER else 409
        return self._answer(request, status, texts.verdicts[verdict])

    def _answer(self, request: Request, status: int, text: str) -> Response:
        return self._renderer.page(
            request, "order.html", status, gate=self._gate, text=text, is_done=status == 200
        )
