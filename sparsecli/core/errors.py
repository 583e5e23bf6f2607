"""The one error that users see: what went wrong with which input, and what cures it."""

from __future__ import annotations


class SparseError(Exception):
    """A failure that one clear line explains.

    Args:
        subject: the file or setting at fault, as the user wrote it.
        cause: what is wrong with it.
        cure: what to do about it; empty where nothing general can be said.
    """

    def __init__(self, subject: str, cause: str, cure: str = "") -> None:
        super().__init__(subject, cause, cure)
        self.subject, self.cause, self.cure = subject, cause, cure

    def __str__(self) -> str:
        line = f"{self.subject}: {self.cause}" if self.subject else self.cause
        line = f"{line}; {self.cure}" if self.cure else line
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
