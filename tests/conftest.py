"""One thread of arithmetic: the tests' tensors are small, and on shared cores more threads wait for each other.

And a server that speaks S3, started once, for the tests that need one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .servers import S3, FaultyProxy, serve_s3

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported, here and in child processes


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A server with no limit to what may be written into it; only what is public may be read anonymously."""
    with serve_s3() as server:
        yield server


@pytest.fixture
def proxy(s3: S3) -> Iterator[FaultyProxy]:
    """A proxy before that server, which does harm where told."""
    made = FaultyProxy(s3.port)
    yield made
    made.stop()


@pytest.fixture
def signing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment, and none from files or other places."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture(autouse=True)
def no_other_places(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test reads or writes the user's own cache, credentials or bucket."""
    for name in ("S3_BUCKET", "SPARSE_CACHE", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
