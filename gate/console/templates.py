"""TemplateRenderer: fills the templates of the pages, in the language of whoever asks."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from mask_gate.gate.console.middleware import ACCOUNT, SiteSettings
from mask_gate.gate.display.texts import Texts
from mask_gate.models.shipped import ASSETS

TEMPLATES = ASSETS / "console"
LANGUAGE_COOKIE = "mask-gate-language"

_MOST_LANGUAGES = 20


class TemplateRenderer:
    """Fills templates.

    Args:
        site: what all pages have in common.
    """

    def __init__(self, site: SiteSettings) -> None:
        self._site = site
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
        )

    def texts(self, request: Request) -> Texts:
        """Texts in the language that this request or an earlier one chose.

        Else in the one of ours that the browser likes best, or in the gate's.
        """
        languages = self._site.languages
        chosen = (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE))
        liked = preferred_languages(request.headers.get("accept-language", ""))
        for code in (*chosen, *liked):
            if code is not None and code in languages:
                return languages[code]
        return next(iter(languages.values()))

    def page(self, request: Request, name: str, status: int = 200, **more: object) -> Response:
        """The page of a template, which is given `more`; `gate` is the site's name by default."""
        texts = self.texts(request)
        text = self._templates.get_template(name).render(
            texts=texts,
            page=texts.page,
            languages=self._site.languages,
            account=request.scope.get(ACCOUNT, ""),
            **{"gate": self._site.gate, **more},
        )
        response = Response(text, status, media_type="text/html; charset=utf-8")
        if request.query_params.get("lang") in self._site.languages:
            response.set_cookie(
                LANGUAGE_COOKIE,
                texts.code,
                max_age=365 * 86400,
                secure=self._site.encrypted,
                httponly=True,
                samesite="strict",
            )
        return response


def preferred_languages(header: str) -> list[str]:
    """Codes of an `Accept-Language` header without regions, what is liked best first."""
    liked: list[tuple[float, str]] = []
    for part in header.split(",")[:_MOST_LANGUAGES]:
        code, _, weight = part.strip().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1.0)
        except ValueError:
            continue
        if quality > 0:
            liked.append((-quality, code.strip().partition("-")[0].lower()))
    return [code for _, code in sorted(liked, key=lambda one: one[0])]
