"""AccessMiddleware: lets a request through or refuses it, and sets the headers of every answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mask_gate.gate.console.login import Authenticator, Role
from mask_gate.gate.console.rate_limit import RateLimiter
from mask_gate.gate.display.texts import Texts

COOKIE = "mask-gate-session"

ACCOUNT = "mask_gate.account"
"""Where the scope of a request says the name of whoever asks."""

OWN_NAMES = ("localhost", "127.0.0.1", "::1")
"""Every machine has these names, so they stand for all programs of a machine, not for us."""

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
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(:\d{1,5})?")
_ENCRYPTED_ONLY = "max-age=31536000"  # a year, for this name alone


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What all pages have in common.

    Attributes:
        gate: the name of the gate, whatever number of doors it has.
        languages: texts by code; the first is the language of the gate.
        names: host names that requests may use.
        encrypted: whether browsers speak TLS.
    """

    gate: str
    languages: Mapping[str, Texts]
    names: frozenset[str]
    encrypted: bool

    @property
    def cookie(self) -> str:
        """Name of the session cookie; one for each gate, as browsers share cookies among ports."""
        return f"{COOKIE}-{self.gate}"


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Which roles may send which request; whatever is not listed does not exist.

    Attributes:
        roles: by method and path.
        pages: paths at which whoever is not logged in is asked for the password.
    """

    roles: Mapping[tuple[str, str], frozenset[Role]]
    pages: frozenset[str]

    def may_see(self, role: Role, page: str) -> bool:
        """Whether this is a page, and one for this role."""
        return page in self.pages and role in self.roles["GET", page]


class AccessMiddleware:
    """Lets a request through if the rules and the rate limiter let it.

    Args:
        app: the pages.
        rules: who may send which request.
        site: the host names that are ours.
        authenticator: knows sessions and tokens.
        limiter: refuses requests that are too many.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: AccessRules,
        site: SiteSettings,
        authenticator: Authenticator,
        limiter: RateLimiter,
    ) -> None:
        self._app = app
        self._rules = rules
        self._site = site
        self._authenticator = authenticator
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # no websockets, nothing to start or end

        request = Request(scope)
        name = _host_name(request.headers.get("host", ""))
        has_own_tls_name = (
            self._site.encrypted and name in self._site.names and name not in OWN_NAMES
        )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for header, value in _HEADERS.items():
                    headers[header] = value
                if has_own_tls_name:
                    headers["strict-transport-security"] = _ENCRYPTED_ONLY
            await send(message)

        role = self._role(request)
        scope[ACCOUNT] = self._authenticator.sessions.account(self._token(request)).name
        address = request.client.host if request.client else ""
        refusal: Response | None
        if self._limiter.admits(address, is_logged_in=role is not Role.NOBODY):
            refusal = self._refusal(request, role)
        else:
            await asyncio.sleep(self._limiter.refusal_delay_s)
            refusal = PlainTextResponse("too many requests", 429, {"retry-after": "1"})
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request, role: Role) -> Response | None:
        """Why a request is refused; None if it is not."""
        headers = request.headers
        host = headers.get("host", "")
        if _host_name(host) not in self._site.names:
            return PlainTextResponse("this host name is not known here; see console.names", 421)
        method = "GET" if request.method == "HEAD" else request.method
        scheme = "https" if self._site.encrypted else "http"
        if method != "GET" and headers.get("origin") != f"{scheme}://{host}":
            return PlainTextResponse("this was not asked by a page of ours", 403)
        path = request.url.path
        allowed = self._rules.roles.get((method, path), frozenset())
        if role in allowed:
            return None
        if role is Role.NOBODY:
            if path in self._rules.pages and method == "GET":
                return RedirectResponse("/login" if path == "/" else f"/login?to={path}", 303)
            return PlainTextResponse("log in first", 401)
        if allowed:
            return PlainTextResponse("this is not for you", 403)
        return PlainTextResponse("there is no such page", 404)

    def _token(self, request: Request) -> str | None:
        return request.cookies.get(self._site.cookie)

    def _role(self, request: Request) -> Role:
        role = self._authenticator.sessions.role(self._token(request))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if (
            role is Role.NOBODY
            and scheme.lower() == "bearer"
            and self._authenticator.is_scraper(token)
        ):
            return Role.SCRAPER
        return role


def _host_name(host: str) -> str:
    """The name in a host such as `localhost:8321`; empty where it is no host at all."""
    match = _HOST.fullmatch(host)
    return "" if match is None else (match["address"] or match["name"]).lower()
