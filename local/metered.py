"""An API that counts its requests, for `libra demo usage`: `uvicorn local.metered:app`.

`/unconfirmed` says how many requests of this process Redis has not confirmed.
"""

from services.usage.middleware import CountASGI, Receive, Scope, Send, header
from services.usage.tracker import UsageTracker

tracker = UsageTracker()


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request."""
    if scope["type"] != "http":
        return
    body = str(tracker.unconfirmed).encode() if scope["path"] == "/unconfirmed" else b"served"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
    del receive


app = CountASGI(served, tracker, header("x-merchant-id"))
