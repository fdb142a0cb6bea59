"""Results that are there already, found again by the content of the files they are about."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lipsync_cli.errors import InputError
from lipsync_cli.results import (
    SCHEMA_VERSION,
    ScoreResult,
    ScoreTrack,
    Segment,
    Step,
    TrackOffset,
)
from lipsync_cli.weights import sha256_of

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What a result belongs to.

    Attributes:
        sha256: of the whole file, so that a renamed file is known and a changed one is not.
        settings: digest of everything else that the figures depend on.
    """

    sha256: str
    settings: str


def key_of(path: Path, settings: str) -> Key:
    """Read a file once to know it by its content; a small part of what decoding it takes.

    A file that cannot be read has an empty hash: what is wrong with it, reading it will tell.
    """
    try:
        return Key(sha256_of(path), settings)
    except OSError:
        return Key("", settings)


def digest(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits for a set of named settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Earlier:
    """The results in a file of NDJSON, by key; the last one of a key counts.

    Attributes:
        lines: the records as they were written, because few of them may ever be needed.
        unreadable: number of lines that hold no record, such as a last one cut short.
    """

    lines: Mapping[Key, bytes] = field(default_factory=dict)
    unreadable: int = 0

    @classmethod
    def read(cls, path: Path) -> Earlier:
        """Read the results; there are none where there is no such file yet.

        Raises:
            InputError: the file cannot be read.
        """
        lines: dict[Key, bytes] = {}
        unreadable = 0
        try:
            for line in _lines(path):
                record = _record(line)
                unreadable += record is None
                if record is not None and record.get("ok") and record.get("sha256"):
                    lines[Key(record["sha256"], str(record.get("settings")))] = line
        except OSError as error:
            raise InputError(
                f"the earlier results cannot be read: {error.strerror}",
                path=path,
                hint="name a file that `lipsync score --json` has written",
            ) from error
        return cls(lines, unreadable)

    def get(self, key: Key) -> ScoreResult | None:
        """The result for a key, without verdicts; None where there is none to rely on."""
        line = self.lines.get(key) if key.sha256 else None
        if line is None:
            return None
        try:
            return _result(json.loads(line))
        except (TypeError, ValueError, KeyError) as error:
            _log.warning("an earlier result cannot be used: %s", error)
            return None


def _lines(path: Path) -> Iterator[bytes]:
    if not path.exists():
        return
    with path.open("rb") as stream:
        yield from (line for line in stream if line.strip())


def _record(line: bytes) -> Mapping[str, Any] | None:
    """The record on a line; None where it is none of this schema."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    known = isinstance(record, dict) and record.get("schema") == SCHEMA_VERSION
    return record if known else None


def _result(record: Mapping[str, Any]) -> ScoreResult:
    nested = {
        "tracks": tuple(_read(ScoreTrack, each) for each in record["tracks"]),
        "faces": tuple(_read(TrackOffset, each) for each in record["faces"]),
        "steps": tuple(_read(Step, each) for each in record.get("steps", ())),
        "segments": tuple(_read(Segment, each) for each in record["segments"]),
        "timeline": tuple((float(at), offset) for at, offset in record["timeline"]),
        "verdicts": {},
    }
    return _read(ScoreResult, {**record, **nested})


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a result of its record; JSON knows lists where we have tuples."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name in known
        }
    )
