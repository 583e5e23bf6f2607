"""Servers for tests, on free ports of this machine: one that speaks S3, and a proxy before it that does harm."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
# S3 itself counts HEAD as GetObject; moto asks for an action of its own.
PUBLIC_READING = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:HeadObject"]}


@dataclass(frozen=True)
class S3:
    """moto's server, and a client of it with credentials."""

    port: int
    client: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_bucket(self, files: dict[str, bytes] | None = None) -> str:
        """A bucket that anybody may read, with these files; its name."""
        name = f"bucket-{uuid.uuid4()}"
        self.client.create_bucket(Bucket=name)
        policy = {"Version": "2012-10-17", "Statement": [{**PUBLIC_READING, "Resource": f"arn:aws:s3:::{name}/*"}]}
        self.client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        for key, data in (files or {}).items():
            self.client.put_object(Bucket=name, Key=key, Body=data)
        return name

    def read(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()


@contextlib.contextmanager
def serve_s3() -> Iterator[S3]:
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    try:
        yield S3(port, boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **KEYS))
    finally:
        server.stop()


@dataclass
class Answer:
    """What the server says, before it goes on to whoever asked."""

    status: int
    headers: dict[str, str]
    body: bytes
    asked: str
    send: Callable[[bytes], None] = field(repr=False)

    def begin(self, length: int | None = None) -> None:
        """Send all but the body."""
        lines = [f"HTTP/1.1 {self.status} Told", f"Content-Length: {len(self.body) if length is None else length}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "content-length"]
        self.send(("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1"))


Fault = Callable[[Answer], None]


def cut(after: int) -> Fault:
    """The connection ends after so many bytes of the body."""

    def fault(answer: Answer) -> None:
        answer.begin()
        answer.send(answer.body[:after])

    return fault


def wrong_bytes(answer: Answer) -> None:
    """One bit of the last byte is another."""
    answer.begin()
    answer.send(answer.body[:-1] + bytes([answer.body[-1] ^ 1]))


def longer(answer: Answer) -> None:
    """More comes than the file has, and the header says so."""
    answer.begin(len(answer.body) + 5)
    answer.send(answer.body + b"extra")


def endless(answer: Answer) -> None:
    """More comes than the file has, and no header says how much."""
    answer.send(f"HTTP/1.1 {answer.status} Told\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
    while True:
        answer.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def no_fault(answer: Answer) -> None:
    """The answer as it is."""
    lengths = [value for name, value in answer.headers.items() if name.lower() == "content-length"]
    answer.begin(int(lengths[0]) if lengths else None)  # HEAD tells that of a body that it has not
    answer.send(answer.body)


def refuse(status: int, code: str = "", headers: dict[str, str] | None = None) -> Fault:
    """Another status, as S3 words it."""

    def fault(answer: Answer) -> None:
        answer.status, answer.headers = status, {"Content-Type": "application/xml", **(headers or {})}
        answer.body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()
        if answer.asked.startswith("HEAD"):
            answer.body = b""
        answer.begin()
        answer.send(answer.body)

    return fault


def trickle(piece: int, pause_s: float) -> Fault:
    """The body comes in small pieces with pauses."""

    def fault(answer: Answer) -> None:
        answer.begin()
        for start in range(0, len(answer.body), piece):
            answer.send(answer.body[start : start + piece])
            time.sleep(pause_s)

    return fault


def held(after: int, gate: threading.Event) -> Fault:
    """After so many bytes of the body nothing comes until the gate is opened."""

    def fault(answer: Answer) -> None:
        answer.begin()
        answer.send(answer.body[:after])
        gate.wait(60)
        answer.send(answer.body[after:])

    return fault


class FaultyProxy:
    """Passes requests on to a server, and does harm to those whose path holds a text, so many times.

    Attributes:
        asked: requests that came: method, path, and range if any.
    """

    def __init__(self, upstream_port: int) -> None:
        self.asked: list[str] = []
        self.faults: list[list[Any]] = []
        self.ranges = True
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._pass_on(self, upstream_port)

            do_HEAD = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def harm(self, path: str, fault: Fault, times: int = 1) -> None:
        """Do this to the next requests for a path."""
        self.faults.append([path, fault, times])

    def count(self, text: str) -> int:
        """How many requests hold a text."""
        return sum(text in asked for asked in self.asked)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, handler: BaseHTTPRequestHandler, port: int) -> None:
        path = handler.path
        if not path.startswith("/"):  # a whole address, as proxies are asked
            path = "/" + path.split("/", 3)[3]
            handler.headers.replace_header("Host", f"127.0.0.1:{port}")  # moto takes others for names of buckets
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
        if not self.ranges:
            headers.pop("Range", None)
        asked = f"{handler.command} {path} {handler.headers.get('Range', '')}".strip()
        self.asked.append(asked)
        sent = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(handler.command, path, sent, headers)
        came = connection.getresponse()
        kept = {name: value for name, value in came.getheaders() if name.lower() != "connection"}
        answer = Answer(came.status, kept, came.read(), asked, handler.wfile.write)
        handler.close_connection = True
        with contextlib.suppress(ConnectionError):  # whoever asked has gone
            self._next_fault(asked)(answer)
        connection.close()

    def _next_fault(self, asked: str) -> Fault:
        for entry in self.faults:
            if entry[0] in asked and entry[2] > 0:
                entry[2] -= 1
                return entry[1]
        return no_fault
