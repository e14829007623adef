"""/docs: Swagger UI over /openapi.json, served from files beside this module. No other host is asked."""

import gzip
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from shared.http.problems import Problem, shown

FOLDER = Path(__file__).with_name("swagger")
TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = "SwaggerUIBundle({ url: 'openapi.json', dom_id: '#api', deepLinking: true, validatorUrl: null });\n"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def page(request: Request) -> HTMLResponse:
    """The page, with the service's name."""
    return HTMLResponse(PAGE.format(title=request.app.title), headers=POLICY)


@router.get("/docs/{name}")
def file(name: str, request: Request) -> Response:
    """A file of the page."""
    if name == "start.js":
        return Response(START, media_type="text/javascript")
    if name not in TYPES:
        raise Problem(404, f"/docs has no file {shown(name)}: it has {', '.join((*TYPES, 'start.js'))}")
    content = (FOLDER / f"{name}.gz").read_bytes()
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(content, media_type=TYPES[name], headers={"Content-Encoding": "gzip"})
    return Response(gzip.decompress(content), media_type=TYPES[name])
