"""Forms: the fields of a short form, read in bounded time and size."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from starlette.requests import Request

from mask_gate.gate.console.event_views import BadRequestError

_MOST_BYTES = 4096
_MOST_FIELDS = 5


async def read_form(request: Request, limit_s: float) -> dict[str, str]:
    """The fields of a form, the first of each name.

    Raises:
        BadRequestError: it is too long, has too many fields, or does not come within `limit_s`.
    """
    body = b""
    try:
        async with asyncio.timeout(limit_s):
            async for part in request.stream():
                body += part
                if len(body) > _MOST_BYTES:
                    raise BadRequestError(f"expected at most {_MOST_BYTES} bytes")
    except TimeoutError:
        raise BadRequestError(f"expected the whole form within {limit_s:g} s") from None
    try:
        found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadRequestError(f"expected at most {_MOST_FIELDS} fields") from None
    return {name: values[0] for name, values in found.items()}
