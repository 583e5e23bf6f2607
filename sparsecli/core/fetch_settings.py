"""Settings of `sparse fetch-models`."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import SparseError


@dataclass(frozen=True)
class FetchSettings:
    """Where models come from and what may come down the wire. Raises ValueError where a value is out of range.

    Attributes:
        s3_bucket: the bucket that holds the models.
        endpoint_url: address of a server that speaks S3, such as MinIO, R2 or Ceph; None: AWS.
        prefix: folder in the bucket that holds the manifest and the models; None: the bucket itself.
        dest: folder that models are kept in; None: the user's cache.
        signed: sign requests with credentials; a profile implies it.
        profile: named profile of credentials; None: the usual ones, where `signed`.
        max_bytes: no file larger than this is fetched.
        timeout_s: give a connection up that brings less than a KiB a second for this long.
        attempts: how often a transfer is begun or gone on with before it counts as failed.
    """

    s3_bucket: str | None = None
    endpoint_url: str | None = None
    prefix: str | None = None
    dest: str | None = None
    signed: bool = False
    profile: str | None = None
    max_bytes: int = 1 << 31
    timeout_s: float = 30.0
    attempts: int = 5

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError("--max-bytes must be at least 1")
        if not 0 < self.timeout_s <= 3600:
            raise ValueError("--timeout must be over 0 and at most 3600 s")
        if not 1 <= self.attempts <= 100:
            raise ValueError("attempts must be 1 to 100")

    def bucket_name(self) -> str:
        """The bucket. Raises SparseError where none is named."""
        if not self.s3_bucket:
            cure = "give --bucket NAME, or set S3_BUCKET in the environment or in .env"
            raise SparseError("", "no bucket is named", cure)
        return self.s3_bucket
