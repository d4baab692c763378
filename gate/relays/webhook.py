"""WebhookRelay: a lock controller that is called over HTTP."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import socket
import time
from collections.abc import Mapping

from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.http_post import Cancelled, HttpPost, Lookup
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.system.secret_file import read_secret

_STANDARD_SECRET = b"whsec_"


class WebhookRelay:
    """POSTs each order as JSON; any answer but 2xx, whole and in time, is a failure.

    The body:

        action     `unlock` or `lock`
        hold_s     with `unlock`: seconds from the arrival of the call after which the receiver
                   must have locked by itself; 0 with `lock`
        session    random, drawn when the gate starts
        sequence   1, 2, 3 ... within a session
        id, reason, event   of the door's signal

    A receiver refuses a sequence that is not greater than the last of its session, and a session
    that it has left: a call that was delayed or played back opens nothing, whatever the clocks say.
    From a session that it does not know, it refuses a timestamp older than some seconds.

    The headers follow Standard Webhooks (standardwebhooks.com, libraries for many languages):
    `webhook-id` is `<session>-<sequence>`, `webhook-timestamp` the seconds of the wall clock, and
    `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`. The
    key is what `secret_file` holds; text that begins with `whsec_` is base64, as the libraries
    draw it.

    Args:
        url: https, or http on this machine.
        secret_file: file with the key; without it calls are not signed.
        ca_file: certificates to trust instead of those of this machine.
        limit_s: how long one call may take, with the look-up of the name.
        clock: in which `Order.until_s` is told.
        wall_clock: seconds since 1970; told to the receiver, and nothing else.
        lookup: socket.getaddrinfo, or what takes its place.

    Raises:
        OutputError: the address, the key or the certificates cannot be used; or the receiver did
            not lock.
    """

    def __init__(
        self,
        url: str,
        secret_file: str | None = None,
        ca_file: str | None = None,
        limit_s: float = 2.0,
        clock: Clock = uptime_s,
        wall_clock: Clock = time.time,
        lookup: Lookup = socket.getaddrinfo,
    ) -> None:
        self._key = None if secret_file is None else _key(secret_file)
        self._post = HttpPost(url, ca_file, limit_s, clock, lookup)
        self.name = f"webhook {self._post.host}"
        self._clock = clock
        self._wall_clock = wall_clock
        self._session = secrets.token_hex(16)
        self._sequence = 0
        self.lock(_lock_order("starting"), lambda: False)

    def unlock(self, order: Order, cancelled: Cancelled) -> None:
        """See `gate.relays.relay.Relay`."""
        if cancelled():
            return
        self._locked = False
        try:
            self._call(order, cancelled)
        except OutputError:
            if not cancelled():  # else a lock follows at once, and says how the receiver is
                raise

    def lock(self, order: Order, cancelled: Cancelled) -> None:
        """See `gate.relays.relay.Relay`."""
        self._locked = False
        self._call(order, cancelled)
        self._locked = True

    def close(self) -> None:
        """Lock, unless that was the last thing done; may be called twice."""
        if not self._locked:
            self._locked = True
            self._call(_lock_order("stopping"), lambda: False)

    def _call(self, order: Order, cancelled: Cancelled) -> None:
        try:
            status = self._post.send(lambda: self._compose(order), cancelled)
        except OutputError as error:
            raise OutputError(f"{self.name}: {error}") from None
        if 300 <= status < 400:
            raise OutputError(
                f"{self.name}: answered {status}, which points elsewhere; redirects are not "
                "followed, give the final url"
            )
        if not 200 <= status < 300:
            raise OutputError(f"{self.name}: refused with status {status}")

    def _compose(self, order: Order) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a call, at the moment when it goes out."""
        hold_s = min(order.hold_s, order.until_s - self._clock()) if order.unlocks else 0.0
        if order.unlocks and not hold_s > 0.0:
            raise OutputError("took so long to reach that the opening was over")
        self._sequence += 1
        body = json.dumps(
            {
                "action": "unlock" if order.unlocks else "lock",
                "hold_s": round(hold_s, 3),
                "session": self._session,
                "sequence": self._sequence,
                "id": order.id,
                "reason": order.reason,
                "event": _event(order.event_json),
            }
        ).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "mask-gate",
            "webhook-id": f"{self._session}-{self._sequence}",
            "webhook-timestamp": str(int(self._wall_clock())),
        }
        if self._key is not None:
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            digest = hmac.new(self._key, signed, hashlib.sha256).digest()
            headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        return headers, body


def _lock_order(reason: str) -> Order:
    return Order(unlocks=False, id="", reason=reason)


def _event(event_json: str) -> object:
    """The event; nothing rather than an order that does not go out."""
    try:
        return json.loads(event_json, parse_constant=lambda name: None)
    except ValueError:
        return {}


def _key(secret_file: str) -> bytes:
    secret = read_secret(secret_file)
    if not secret.startswith(_STANDARD_SECRET):
        return secret
    try:
        key = base64.b64decode(secret.removeprefix(_STANDARD_SECRET), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise OutputError(f"secret file {secret_file}: expected base64 after whsec_") from None
    return key
