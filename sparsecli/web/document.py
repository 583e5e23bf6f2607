"""The page as HTML: for the server, and whole in one file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any

from .bundle import bundle, page_file

STYLE, APP, WORKER = "style.css", "app.js", "worker.js"
# Nothing is loaded from elsewhere, framed or sent elsewhere; the sound is reckoned by a worker and played from memory.
_POLICY = {
    "default-src": "'none'",
    "img-src": "data: blob:",
    "media-src": "blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
}
SERVED_POLICY = {
    **_POLICY,
    "script-src": "'self'",
    "style-src": "'self'",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
}


def policy_text(policy: dict[str, str]) -> str:
    """A content security policy as a header has it."""
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def served_document(config: dict[str, Any]) -> str:
    """The page that a server gives, which fetches the rest from it."""
    return _fill(
        policy="",
        style=f'<link rel="stylesheet" href="{STYLE}">',
        data=_data("config", _json(config)),
        script=f'<script type="module" src="{APP}"></script>',
    )


def whole_document(scene: bytes, audio: tuple[bytes, str] | None) -> str:
    """The page in one file, which works offline.

    Args:
        scene: as `pack_scene` makes it.
        audio: the recording and its media type, as `pack_audio` makes it.
    """
    style, app, worker = page_file(STYLE), bundle(APP), bundle(WORKER)
    policy = policy_text(
        {
            **_POLICY,
            "script-src": f"'sha256-{_digest(app)}'",
            "style-src": f"'sha256-{_digest(style)}'",
            "worker-src": "blob:",
        }
    )
    data = [
        _data("config", _json({"mode": "file"})),
        _data("scene", _text(gzip.compress(scene, mtime=0))),
        _data("worker", _text(worker.encode())),
    ]
    if audio is not None:
        data.append(_data("audio", _text(audio[0])))
    return _fill(
        policy=f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        style=f"<style>{style}</style>",
        data="\n".join(data),
        script=f'<script type="module">{app}</script>',
    )


def _fill(**parts: str) -> str:
    text = page_file("index.html")
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    return text


def _data(name: str, text: str) -> str:
    """A block of data, which no browser runs."""
    return f'<script type="text/plain" id="{name}-data">{text}</script>'


def _json(value: Any) -> str:
    return json.dumps(value).replace("<", "\\u003c")  # nothing in it can end the block


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
