"""Orders: hands guards' orders to the gate, one line each, and waits for what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mask_gate.gate.guard_order import GuardAct, GuardOrder, Verdict

ANSWER_S = 4.0
"""The gate decides at once; what takes longer is a disk that hangs, and the order may be done."""


class Orders:
    """The way back to the gate. It decides nothing: the gate does, by rules of its own.

    Args:
        may: what the pages offer.
        say: takes a line for the gate.
        answer_s: how long an answer is waited for.
    """

    def __init__(
        self, may: frozenset[GuardAct], say: Callable[[str], None], answer_s: float = ANSWER_S
    ) -> None:
        self.may = may
        self._say = say
        self._answer_s = answer_s
        self._waiting: dict[str, asyncio.Future[Verdict]] = {}

    async def give(self, order: GuardOrder) -> Verdict:
        """Hand an order in; what came of it."""
        if order.id in self._waiting:
            return Verdict.REPEATED
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting[order.id] = answer
        try:
            self._say(f"order {order.model_dump_json()}")
            async with asyncio.timeout(self._answer_s):
                return await answer
        except TimeoutError:
            return Verdict.NO_ANSWER
        finally:
            del self._waiting[order.id]

    def take_answer(self, order_id: str, verdict: Verdict) -> None:
        """Take what came of an order; in the reader's thread."""
        answer = self._waiting.get(order_id)
        if answer is not None:
            answer.get_loop().call_soon_threadsafe(_settle, answer, verdict)


def _settle(answer: asyncio.Future[Verdict], verdict: Verdict) -> None:
    if not answer.done():
        answer.set_result(verdict)
