"""TemplateRenderer: what a page is written on: the templates, in the language of whoever asks."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from mask_gate.gate.console.middleware import Site
from mask_gate.gate.display.texts import Texts
from mask_gate.models.shipped import ASSETS

PAGES = ASSETS / "console"
LANGUAGE_COOKIE = "mask-gate-language"


class TemplateRenderer:
    """Writes pages.

    Args:
        site: what they have in common.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._templates = Environment(
            loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined
        )

    def words(self, request: Request) -> Texts:
        """The language asked for, else the browser's, else the gate's."""
        languages = self._site.languages
        asked = [request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)]
        heard = request.headers.get("accept-language", "")
        asked += [part.split(";")[0].split("-")[0].strip() for part in heard.split(",")[:5]]
        if not any(code in languages for code in asked[:2]):
            asked.insert(2, next(iter(languages)))
        return next(languages[code] for code in asked if code is not None and code in languages)

    def page(self, request: Request, name: str, status: int = 200, **more: object) -> Response:
        """A page from a template, which is given `more`; `gate` is the whole unless it is told."""
        words = self.words(request)
        text = self._templates.get_template(name).render(
            words=words,
            page=words.page,
            languages=self._site.languages,
            **{"gate": self._site.gate, **more},
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
