"""Runs that a page watches: what they have told so far, and the stream of it that every page gets from the start."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from .server import TooLarge, body_of
from .settings import SECRET

ALIVE_EVERY_S = 5.0  # so that a page that has gone is noticed
NEWS_EVERY_S = 0.1  # at most
MAX_RUNS = 1000


@dataclass
class Run:
    """One run.

    Attributes:
        about: what it is: name, settings, device, duration_s.
        state: `running`, `done`, `ended early` or `failed`.
        share: done of all, 0 to 1.
        points: figures over time, one object each.
        scene: its newest events, and how many there have been.
        audio: the recording and its media type.
    """

    about: dict[str, Any]
    state: str = "running"
    share: float = 0.0
    points: list[dict[str, float]] = field(default_factory=list)
    scene: bytes | None = None
    scenes: int = 0
    audio: tuple[bytes, str] | None = None

    def news(self, index: int, first: int) -> dict[str, Any]:
        """What a page is told that knows the first points already."""
        return {
            "run": str(index),
            **self.about,
            "state": self.state,
            "share": self.share,
            "scene": self.scenes,
            "audio": self.audio is not None,
            "from": first,
            "points": self.points[first:],
        }


class Runs:
    """All runs of a command. Whoever comes late is told everything; who drops out comes back and is told again."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.runs: list[Run] = []
        self.watchers = 0
        self.changes = 0
        self._news = asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        """Routes for pages, and for runs, which show the secret."""
        return [
            Route("/updates", self._updates),
            Route("/runs/{run:int}/scene", self._give_scene),
            Route("/runs/{run:int}/audio", self._give_audio),
            Route("/runs", self._own(self._begin), methods=["POST"]),
            Route("/runs/{run:int}/points", self._own(self._take_points), methods=["POST"]),
            Route("/runs/{run:int}/scene", self._own(self._take_scene), methods=["POST"]),
            Route("/runs/{run:int}/audio", self._own(self._take_audio), methods=["POST"]),
            Route("/watchers", self._own(self._count), methods=["POST"]),
        ]

    # For pages

    async def _updates(self, request: Request) -> Response:
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self.stream(), media_type="text/event-stream", headers=headers)

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events: everything first, then what is new."""
        known: list[int] = []
        seen = -1
        self.watchers += 1
        try:
            while True:
                if seen != self.changes:
                    seen = self.changes
                    known += [0] * (len(self.runs) - len(known))
                    news = [run.news(index, known[index]) for index, run in enumerate(self.runs)]
                    known = [len(run.points) for run in self.runs]
                    yield f"event: runs\ndata: {json.dumps(news, allow_nan=False)}\n\n"
                    await asyncio.sleep(NEWS_EVERY_S)
                    continue
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), ALIVE_EVERY_S)
                except TimeoutError:
                    yield ": alive\n\n"
        finally:
            self.watchers -= 1

    async def _give_scene(self, request: Request) -> Response:
        run = self._found(request)
        if run is None or run.scene is None:
            return Response(status_code=404)
        return Response(run.scene, media_type="application/octet-stream")

    async def _give_audio(self, request: Request) -> Response:
        run = self._found(request)
        if run is None or run.audio is None:
            return Response(status_code=404)
        return Response(run.audio[0], media_type=run.audio[1])

    # For runs

    def _own(self, act: Callable[[Request, bytes], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if not hmac.compare_digest(request.headers.get(SECRET, "").encode(), self.secret.encode()):
                return Response(status_code=403)
            try:
                data = await body_of(request)
            except TooLarge:
                return Response(status_code=413)
            answer = act(request, data)
            self.changes += 1
            self._news.set()
            return answer

        return endpoint

    def _begin(self, request: Request, data: bytes) -> Response:
        if len(self.runs) >= MAX_RUNS:
            return Response(status_code=409)
        self.runs.append(Run(json.loads(data)))
        return JSONResponse({"run": len(self.runs) - 1})

    def _take_points(self, request: Request, data: bytes) -> Response:
        run = self._found(request)
        if run is None:
            return Response(status_code=404)
        told = json.loads(data)
        run.points += told["points"]
        run.share, run.state = told["share"], told["state"]
        return Response()

    def _take_scene(self, request: Request, data: bytes) -> Response:
        run = self._found(request)
        if run is None:
            return Response(status_code=404)
        run.scene, run.scenes = data, run.scenes + 1
        return Response()

    def _take_audio(self, request: Request, data: bytes) -> Response:
        run = self._found(request)
        if run is None:
            return Response(status_code=404)
        run.audio = data, request.headers.get("content-type", "audio/flac")
        return Response()

    def _count(self, request: Request, data: bytes) -> Response:
        return JSONResponse({"watchers": self.watchers})

    def _found(self, request: Request) -> Run | None:
        index = request.path_params["run"]
        return self.runs[index] if index < len(self.runs) else None
