"""Who gets what from the server, and what it makes of what it is sent."""

from __future__ import annotations

import http.client
import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparsecli.core.errors import SparseError
from sparsecli.core.events import Events
from sparsecli.io.events_npz import unpack_npz
from sparsecli.web import safety
from sparsecli.web.scene import pack_scene, unpack_scene
from sparsecli.web.server import make_app, scene_routes
from sparsecli.web.serving import hosts_of, listen, port_of, token_for

OWN = ["/", "/style.css", "/app.js", "/worker.js", "/scene"]
Ask = Callable[..., tuple[int, dict[str, str], bytes]]


def asking(address: str) -> Ask:
    """Asks a server as any program on the machine may."""
    port = int(address.rstrip("/").rpartition(":")[2])

    def ask(path: str, data: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("GET" if data is None else "POST", path, skip_host=True)
        named = {"Host": f"127.0.0.1:{port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        for name, value in named.items():
            connection.putheader(name, value)
        if data is not None:
            connection.putheader("Content-Length", headers.get("Content_Length", str(len(data))))
        connection.endheaders(data)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    return ask


@pytest.fixture
def events(random_events: Callable[..., Events]) -> Events:
    return random_events(1, channels=2)


@pytest.fixture
def ask(serving: Callable[..., Any], events: Events) -> Any:
    config = {"mode": "view", "audio": False}
    with serving(lambda port: make_app(config, scene_routes(events, None), hosts_of("127.0.0.1", port))) as address:
        yield asking(address)


def test_the_page_its_parts_and_its_policy(ask: Ask, events: Events):
    for path in OWN:
        status, headers, _ = ask(path)
        assert status == 200
        policy = dict(entry.split(" ", 1) for entry in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
    np.testing.assert_array_equal(unpack_scene(ask("/scene")[2]).params, events.params)
    assert ask("/audio")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/page/app.js", "//etc/passwd", "/style.css/../../server.py", "/fft.js"],
)
def test_no_path_leads_to_a_file(ask: Ask, path: str):
    assert ask(path)[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),  # another site's name that points here
        ({"Host": "127.0.0.1"}, 421),  # another port
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),  # another port of this machine
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_other_sites_get_nothing(ask: Ask, headers: dict[str, str], status: int):
    for path in OWN:
        assert ask(path, **headers)[0] == status


def test_what_is_too_much_is_refused_whatever_it_declares(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    assert ask("/export/npz", b"", Content_Length=str(safety.MAX_BODY_BYTES + 1))[0] == 413
    from sparsecli.web import server

    monkeypatch.setattr(server.body_of, "__defaults__", (1000,))
    assert ask("/export/npz", bytes(1001))[0] == 413
    assert ask("/export/npz", bytes(1000))[0] == 400


def test_exports_are_checked_as_files_are(ask: Ask, events: Events):
    status, _, data = ask("/export/npz", pack_scene(events))
    assert status == 200
    np.testing.assert_array_equal(unpack_npz(io.BytesIO(data), "").params, events.params)
    hostile = replace(events, params=np.full_like(events.params, np.nan))
    status, _, data = ask("/export/npz", pack_scene(hostile))
    assert (status, list(json.loads(data))) == (400, ["error"])
    status, _, data = ask("/export/mid", pack_scene(replace(events, note=np.arange(len(events), dtype=np.int32))))
    assert status == 200 and data.startswith(b"MThd")
    status, _, data = ask("/export/mid", pack_scene(events.take(np.array([], np.int64))))
    assert status == 400 and "fit with --notes" in json.loads(data)["error"]
    assert ask("/export/mid?tempo=0", pack_scene(events))[0] == 400


def test_selections(ask: Ask, events: Events):
    status, _, data = ask("/select?expression=top+2+by+energy", pack_scene(events))
    assert status == 200 and len(json.loads(data)["ids"]) == 2
    status, _, data = ask("/select?expression=freq", pack_scene(events))
    assert status == 400 and json.loads(data)["error"].startswith("column 5: ")


def test_hostile_scenes_are_refused(events: Events):
    whole = pack_scene(events)
    changed = bytearray(whole)
    struct.pack_into("<I", changed, 8, 1 << 30)
    huge = whole.replace(b'"events": 12', b'"events": 99999999')
    other, none = whole.replace(b'"pan"', b'"pin"'), whole.replace(b'"columns"', b'"c0lumns"')
    for data in (b"", b"SPRSCENE", whole[:-1], whole + b"\0", bytes(changed), huge, other, none, b"X" * 100):
        with pytest.raises(SparseError, match="events from the browser"):
            unpack_scene(data)
    for cut in range(0, len(whole), 97):
        with pytest.raises(SparseError):
            unpack_scene(whole[:cut])


def test_a_token_is_asked_for_where_others_can_reach_the_page(serving: Callable[..., Any], events: Events):
    assert token_for("127.0.0.1") is None and hosts_of("0.0.0.0", 80) is None
    token = token_for("0.0.0.0")
    assert token is not None and len(token) >= 32 and token != token_for("0.0.0.0")
    routes = scene_routes(events, None)
    with serving(lambda port: make_app({"mode": "view"}, routes, None, token)) as address:
        ask = asking(address)
        assert {ask(path)[0] for path in OWN} == {401}
        assert ask(f"/?token={token}x")[0] == 401
        status, headers, _ = ask(f"/?token={token}")
        assert status == 200 and "HttpOnly; SameSite=Strict" in headers["set-cookie"]
        assert ask("/scene", Cookie=headers["set-cookie"].partition(";")[0])[0] == 200
        assert ask("/scene", Cookie=headers["set-cookie"].partition(";")[0], Origin="http://evil.example")[0] == 403


def test_the_next_free_port_is_taken():
    first = listen(20_000)
    second = listen(port_of(first))
    assert port_of(second) > port_of(first)
    for listening in (first, second):
        assert listening.getsockname()[0] == "127.0.0.1"
        listening.close()
    with pytest.raises(SparseError, match="no address of this machine"):
        listen(20_000, "192.0.2.1")  # of documentation, nobody's
