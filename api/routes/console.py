"""The documents page and what it loads, all from this origin."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

router = APIRouter(include_in_schema=False)
OWN_ORIGIN = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": f"{OWN_ORIGIN}; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@router.get("/")
@router.head("/")
async def root() -> Response:
    """Leads to the documents."""
    return RedirectResponse("docs")


@router.get("/docs")
@router.head("/docs")
def docs() -> Response:
    """The page that shows `/openapi.json`."""
    return _asset("docs.html", "text/html")


@router.get("/docs/docs.js")
def script() -> Response:
    """What draws the page."""
    return _asset("docs.js", "text/javascript")


@router.get("/docs/docs.css")
def style() -> Response:
    """How the page looks, in light and dark."""
    return _asset("docs.css", "text/css")


def _asset(name: str, media_type: str) -> Response:
    text = files("api").joinpath("console", name).read_text(encoding="utf-8")
    return Response(text, headers=HEADERS, media_type=media_type)
