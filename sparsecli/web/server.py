"""What the page's server answers: the page and its parts, the events, selections, and exports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..core.audio import Audio
from ..core.errors import SparseError
from ..core.events import Events
from ..core.selection import select, selects_air
from .bundle import bundle, page_file
from .document import APP, STYLE, WORKER, served_document
from .safety import MAX_BODY_BYTES, Guard
from .scene import pack_audio, pack_scene, unpack_scene

_FILES: dict[str, tuple[str, Callable[[str], str]]] = {
    STYLE: ("text/css", page_file),
    APP: ("text/javascript", bundle),
    WORKER: ("text/javascript", bundle),
}


class TooLarge(Exception):
    """A request that sends more than is taken."""


def make_app(
    config: dict[str, Any], routes: Iterable[BaseRoute], hosts: Iterable[str] | None, token: str | None = None
) -> Starlette:
    """The application: the page, its parts, what it asks of the server, and `routes`.

    Args:
        config: told to the page.
        routes: what is shown.
        hosts: see `Guard`.
        token: see `Guard`.
    """
    document = served_document(config)

    async def index(request: Request) -> Response:
        return Response(document, media_type="text/html")

    own = [
        Route("/", index),
        *(Route(f"/{name}", _file(name)) for name in _FILES),
        Route("/select", _work(_select), methods=["POST"]),
        Route("/export/npz", _work(_to_npz), methods=["POST"]),
        Route("/export/mid", _work(_to_midi), methods=["POST"]),
    ]
    guard = Middleware(Guard, hosts=hosts, token=token)
    return Starlette(routes=[*own, *routes], middleware=[guard])


def scene_routes(events: Events, audio: Audio | None) -> list[BaseRoute]:
    """The routes of one set of events and its recording."""
    scene = pack_scene(events)
    packed = None if audio is None else pack_audio(audio, events.header.channels)

    async def give_scene(request: Request) -> Response:
        return Response(scene, media_type="application/octet-stream")

    async def give_audio(request: Request) -> Response:
        if packed is None:
            return Response(status_code=404)
        return Response(packed[0], media_type=packed[1])

    return [Route("/scene", give_scene), Route("/audio", give_audio)]


async def body_of(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    """All that a request sends. Raises TooLarge beyond `most` bytes, whatever it declares."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise TooLarge
    return bytes(data)


def _file(name: str) -> Callable[[Request], Any]:
    media_type, read = _FILES[name]

    async def give(request: Request) -> Response:
        return Response(read(name), media_type=media_type)

    return give


def _work(work: Callable[[Events, Request], Response]) -> Callable[[Request], Any]:
    """An answer made from the events that the browser sends; what is wrong with them is one line."""

    def answer(data: bytes, request: Request) -> Response:
        try:
            return work(unpack_scene(data), request)
        except (SparseError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)

    async def endpoint(request: Request) -> Response:
        try:
            data = await body_of(request)
        except TooLarge:
            return JSONResponse({"error": f"more than {MAX_BODY_BYTES >> 20} MiB at once"}, 413)
        return await run_in_threadpool(answer, data, request)

    return endpoint


def _select(events: Events, request: Request) -> Response:
    """The ids of the events that an expression selects, as texts (they may be more than a browser can count to)."""
    expression = request.query_params.get("expression", "")
    rows = select(events, expression)
    return JSONResponse({"ids": [str(name) for name in events.id[rows].tolist()], "air": selects_air(expression)})


def _to_npz(events: Events, request: Request) -> Response:
    from ..io.events_npz import pack_npz

    return Response(pack_npz(events), media_type="application/octet-stream")


def _to_midi(events: Events, request: Request) -> Response:
    from ..engine.scores import score_of
    from ..engine.steps import AUTO, QUALIFIERS, check_tempo
    from ..engine.tempi import find_tempo
    from ..io.midi import write_midi

    tempo = request.query_params.get("tempo", QUALIFIERS["tempo"].default)
    check_tempo(tempo)
    score = score_of(events)
    if not len(score):
        raise SparseError("", "there are no notes that a MIDI file could hold", "fit with --notes")
    tempo_bpm = find_tempo(events) if tempo == AUTO else float(tempo)
    return Response(write_midi(score, tempo_bpm, bend=True), media_type="audio/midi")
