"""Everything that can go wrong, as one tree.

    LipsyncError                exit 1
    ├── InputError              exit 1   the file cannot be read or lacks what is needed
    │   ├── MediaNotFound
    │   ├── UnreadableMedia
    │   └── MissingStream
    ├── OutputError             exit 1   the result cannot be written, or exists
    ├── WeightsError            exit 1   a model file is missing, damaged or of another kind
    ├── DependencyError         exit 1   a library of this machine is missing
    ├── UsageError              exit 2   options that exclude each other
    └── NotTrustworthy          exit 3   worked, but there is no answer to rely on

Every message says what happened and to which file; `hint` says what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class LipsyncError(Exception):
    """Root of the tree.

    Attributes:
        message: what happened, in one line.
        path: the file it happened to, where there is one.
        hint: what to do about it, in one line.
        exit_code: what the process returns for it.
        code: a stable word for machine-readable output.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

    def __init__(
        self, message: str, *, path: str | Path | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        remedy = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{remedy}"


class InputError(LipsyncError):
    code = "input"


class MediaNotFound(InputError):
    code = "not_found"


class UnreadableMedia(InputError):
    code = "unreadable"


class MissingStream(InputError):
    code = "missing_stream"


class OutputError(LipsyncError):
    code = "output"


class WeightsError(LipsyncError):
    code = "weights"


class DependencyError(LipsyncError):
    code = "dependency"


class UsageError(LipsyncError):
    exit_code = 2
    code = "usage"


class NotTrustworthy(LipsyncError):
    exit_code = 3
    code = "not_trustworthy"
