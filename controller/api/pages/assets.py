"""Files of the page and of the API reference, all served from here: the page works without the internet."""

import gzip
import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi import Path as UrlPath

from paploss.controller.api.problems import ProblemError, documented
from paploss.controller.api.security.access import AuthorizedRoute

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

_OURS = Path(str(files("paploss.controller.web"))) / "static"
_PLOTLY = Path(str(files("plotly"))) / "package_data"
_SWAGGER = Path(str(files("swagger_ui"))) / "static"

_FILES = {
    "page.css": (_OURS / "page.css", "text/css; charset=utf-8"),
    "page.js": (_OURS / "page.js", "text/javascript; charset=utf-8"),
    "pictures.js": (_OURS / "pictures.js", "text/javascript; charset=utf-8"),
    "docs.js": (_OURS / "docs.js", "text/javascript; charset=utf-8"),
    "icon.svg": (_OURS / "icon.svg", "image/svg+xml"),
    "plotly.min.js": (_PLOTLY / "plotly.min.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": (_SWAGGER / "swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": (_SWAGGER / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
}


def asset_url(name: str) -> str:
    """The address of a file, with a digest of its content, so that browsers may keep it for ever."""
    return f"/static/{name}?v={_digest(name)}"


@router.get("/static/{name}", responses=documented(404))
def get_asset(
    name: Annotated[str, UrlPath(max_length=100)], accept_encoding: Annotated[str, Header(max_length=1000)] = ""
) -> Response:
    """One file."""
    if name not in _FILES:
        raise ProblemError(404, f"there is no file {name!r}")
    path, media_type = _FILES[name]
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in accept_encoding:
        return Response(_compressed(name), headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)
    return Response(path.read_bytes(), headers=headers, media_type=media_type)


@lru_cache
def _digest(name: str) -> str:
    with _FILES[name][0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


@lru_cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_FILES[name][0].read_bytes(), 6)
