"""Who may ask the server for what. It is for the person at this machine, not for other sites in their browser."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .document import SERVED_POLICY, policy_text

MAX_BODY_BYTES = 1 << 28  # events from the browser: a million atoms and more
TOKEN = "token"
_COOKIE = "sparse_token"
_HEADERS = {
    "Content-Security-Policy": policy_text(SERVED_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Answers only to those who may ask, bounds what they send, and sends the policy with every answer.

    - Host: a name of this machine, so that another site's name that points here (DNS rebinding) gets nothing.
    - Origin and Sec-Fetch-Site: only this page's own requests, so that no other site can ask through the browser.
    - Token, where the server is not for this machine alone: in the address first, in a cookie from then on.

    Args:
        app: what is guarded.
        hosts: that may stand in a request, with their port; None for any, where a token is asked for.
        token: to be shown; None for none.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, token: str | None) -> None:
        self.app, self.token = app, token
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        fault = self._fault(scope, headers)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                if self.token is not None and fault is None:
                    found["Set-Cookie"] = f"{_COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            await send(message)

        if fault is not None:
            code, text = fault
            await PlainTextResponse(f"{text}\n", code)(scope, receive, sending)
            return
        await self.app(scope, receive, sending)

    def _fault(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """What speaks against a request: status and text."""
        host = headers.get("host", "")
        if self.hosts is not None and host not in self.hosts:
            return 421, "this is not a name of the server"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "asked by another site"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "asked by another site"
        if int(headers.get("content-length", "0") or 0) > MAX_BODY_BYTES:
            return 413, "too much at once"
        if self.token is not None and not self._shows_token(scope, headers):
            return 401, "open the address that sparse printed, with its token"
        return None

    def _shows_token(self, scope: Scope, headers: Headers) -> bool:
        assert self.token is not None
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get(TOKEN, [""])[0]
        kept = cookie_parser(headers.get("cookie", "")).get(_COOKIE, "")
        return any(hmac.compare_digest(shown.encode(), self.token.encode()) for shown in (asked, kept))
