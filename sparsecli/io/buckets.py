"""A bucket of a server that speaks S3: what lies in it, and its files in part or whole.

boto3 is imported where a bucket is opened: it takes a third of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from sparsecli.core.errors import SparseError
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.core.manifest import check_key

MAX_LISTED = 100_000  # keys, so that a listing that never ends does not fill the memory
_ANY_REGION = "us-east-1"  # S3 sends on from here; other servers ignore it
_CURES = {
    403: "credentials are used with --signed or --profile; a key that does not exist can look like this too",
    404: "sparse fetch-models --list shows what there is",
    429: "try again later",
}


class MissingError(SparseError):
    """There is no such file."""


class ForbiddenError(SparseError):
    """The server says that this may not be done."""


class ChangedError(SparseError):
    """A file is not, or no longer, the one that was meant."""


class TransferError(SparseError):
    """A connection that failed; it may succeed when tried again."""


class CutError(TransferError):
    """A connection that was lost while a file came; what has come is good."""


@dataclass(frozen=True)
class Object:
    """A file in a bucket.

    Attributes:
        key: its place under the prefix.
        bytes: its size.
        etag: changes when its bytes do.
    """

    key: str
    bytes: int
    etag: str


class Body(Protocol):
    """Bytes as they come from a connection."""

    def read1(self, amount: int) -> bytes:
        """Up to so many bytes, as soon as there are any; none at the end."""


@dataclass(frozen=True)
class Download:
    """A file that is coming.

    Attributes:
        body: its bytes from `start` on.
        start: how many bytes are left out before it.
        bytes: size of the whole file, with what is left out; None where the server does not say.
    """

    body: Body
    start: int
    bytes: int | None


class Bucket:
    """A bucket, or a folder in it. Every key is under that folder.

    Methods raise SparseError: MissingError, ForbiddenError, ChangedError, TransferError where a retry may help, or
    itself. Requests are tried `attempts` times, with growing pauses.

    Args:
        settings: which, and how to reach it.

    Raises:
        SparseError: no bucket is named, the address or prefix makes no sense, or there is no such profile.
    """

    def __init__(self, settings: FetchSettings) -> None:
        self.name = settings.bucket_name()
        self.prefix = _folder(settings.prefix or "")
        self._client = _client(settings)

    def place(self, key: str = "") -> str:
        """What messages call a key."""
        return f"s3://{self.name}/{self.prefix}{key}"

    def files(self) -> Iterator[Object]:
        """All files, as the server lists them: by key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix)
        found = 0
        with _explained(self.place()):
            for page in pages:
                for entry in page.get("Contents", []):
                    found += 1
                    if found > MAX_LISTED:
                        raise SparseError(self.place(), f"holds over {MAX_LISTED} keys", "narrow them with --prefix")
                    key = entry["Key"].removeprefix(self.prefix)
                    if key and not key.endswith("/"):
                        yield Object(key, entry["Size"], entry.get("ETag", ""))

    def look(self, key: str) -> Object:
        """Size and ETag of a file."""
        with _explained(self.place(key)):
            found = self._client.head_object(Bucket=self.name, Key=self.prefix + key)
            return Object(key, found["ContentLength"], found.get("ETag", ""))

    def read(self, key: str, max_bytes: int) -> tuple[bytes, str]:
        """A small file and its ETag. Raises SparseError where it is larger than `max_bytes`."""
        with _explained(self.place(key)):
            found = self._client.get_object(Bucket=self.name, Key=self.prefix + key)
            data = found["Body"].read(max_bytes + 1)
            found["Body"].close()
        if len(data) > max_bytes:
            raise SparseError(self.place(key), f"is larger than {max_bytes} bytes")
        return data, found.get("ETag", "")

    @contextmanager
    def open(self, key: str, start: int = 0, etag: str = "") -> Iterator[Download]:
        """A file as it comes, from byte `start` on if the server can do that; `etag` is what it must have."""
        asked: dict[str, str] = {"Range": f"bytes={start}-"} if start else {}
        if etag:
            asked["IfMatch"] = etag
        with _explained(self.place(key)):
            found = self._client.get_object(Bucket=self.name, Key=self.prefix + key, **asked)
            start, size = _extent(found)
        with _explained(self.place(key), CutError), found["Body"] as body:  # urllib3's own, which has read1
            yield Download(body, start, size)

    def put(self, key: str, body: BinaryIO | bytes, *, replaces: str | None = None, overwrite: bool = False) -> None:
        """Write a file whole.

        Args:
            key: where.
            body: its bytes.
            replaces: the ETag of the file that it takes the place of; None: there is none yet.
            overwrite: whatever is there is replaced.

        Raises:
            ChangedError: another file is there by now.
        """
        asked: dict[str, str] = {}
        if not overwrite:
            asked = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}
        with _explained(self.place(key)):
            self._client.put_object(Bucket=self.name, Key=self.prefix + key, Body=body, **asked)


def _folder(prefix: str) -> str:
    """A prefix that ends in a slash, or nothing.

    >>> _folder("models"), _folder("models/siam/"), _folder("/")
    ('models/', 'models/siam/', '')
    """
    plain = prefix.strip("/")
    if not plain:
        return ""
    try:
        check_key(plain)
    except ValueError as error:
        raise SparseError(f"--prefix {prefix}", str(error)) from None
    return plain + "/"


def _client(settings: FetchSettings) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    signed = settings.signed or settings.profile is not None
    config = Config(
        connect_timeout=settings.timeout_s,
        read_timeout=settings.timeout_s,
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        # Servers beside AWS know neither buckets as host names nor all of its checksums.
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **({} if signed else {"signature_version": UNSIGNED}),
    )
    try:
        session = boto3.Session(profile_name=settings.profile)
        region = session.region_name or _ANY_REGION
        return session.client("s3", region_name=region, endpoint_url=settings.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:  # no such profile, or no address
        raise SparseError("", _first_line(error)) from None


def _extent(found: dict[str, Any]) -> tuple[int, int | None]:
    """Where an answer begins and how large the whole file is. A server that ignores ranges sends it from 0 on.

    >>> _extent({"ContentRange": "bytes 10-19/100", "ContentLength": 10}), _extent({"ContentLength": 100})
    ((10, 100), (0, 100))
    """
    content_range = found.get("ContentRange")
    if not content_range:
        return 0, found.get("ContentLength")
    span, _, whole = content_range.removeprefix("bytes").strip().partition("/")
    start = span.partition("-")[0]
    if not (start.isdecimal() and whole.isdecimal()):
        raise TransferError("", f"the server sent the range {content_range!r}, which makes no sense")
    return int(start), int(whole)


@contextmanager
def _explained(place: str, lost: type[TransferError] = TransferError) -> Iterator[None]:
    """What boto3 and the connection under it raise, as errors that one line explains; `lost` for the connection."""
    from botocore import exceptions
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(place, error.response) from error
    except exceptions.NoCredentialsError as error:
        cure = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --profile"
        raise SparseError(place, "no credentials are found to sign with", cure) from error
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError, ReadTimeoutError) as error:
        raise lost(place, "nothing came in time", "try again, or with a longer --timeout") from error
    except exceptions.EndpointConnectionError as error:
        raise lost(place, "the server cannot be reached", "check the network and --endpoint-url") from error
    except (exceptions.HTTPClientError, exceptions.IncompleteReadError, HTTPError) as error:
        raise lost(place, "the connection was cut off", "try again") from error
    except exceptions.BotoCoreError as error:
        raise SparseError(place, _first_line(error)) from error


def _refusal(place: str, response: dict[str, Any]) -> SparseError:
    """What an answer other than success means."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = response.get("Error", {}).get("Code", "")
    told = f"HTTP {status}" if code in ("", str(status)) else f"HTTP {status}, {code}"
    if status == 403:
        return ForbiddenError(place, f"may not be done ({told})", _CURES[403])
    if status == 404:
        if code == "NoSuchBucket":
            return SparseError(place, f"there is no such bucket ({told})", "check --bucket and --endpoint-url")
        return MissingError(place, f"there is no such file ({told})", _CURES[404])
    if status in (409, 412, 416):  # 409: another writes it at this moment
        return ChangedError(place, f"is not the file that it was ({told})", "try again")
    if 300 <= status < 400:
        cure = "name the bucket's own address with --endpoint-url, or its region with AWS_DEFAULT_REGION"
        return SparseError(place, f"the server sends elsewhere, which is not followed ({told})", cure)
    if status == 429 or status >= 500:
        return TransferError(place, f"the server failed ({told})", _CURES[429])
    said = response.get("Error", {}).get("Message", "")
    return SparseError(place, f"the server refuses ({told}{': ' + said if said else ''})")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
