"""Limits of the standards, which allow less of early sound than of late sound."""

from __future__ import annotations

import pytest

from lipsync_cli.errors import UsageError
from lipsync_cli.scoring.tolerance import STANDARDS, parse_tolerance


@pytest.mark.parametrize(
    ("name", "early_ms", "late_ms"),
    [
        ("ebu", 40, 60),
        ("ebu-production", 5, 15),
        ("ebu-exchange", 20, 40),
        ("ebu-distribution", 40, 60),
        ("ITU", 90, 185),
        ("itu-detect", 45, 125),
        ("atsc", 15, 45),
        ("20,30.5", 20, 30.5),
        ("0,0", 0, 0),
    ],
)
def test_limits_are_those_published(name: str, early_ms: float, late_ms: float) -> None:
    limits = parse_tolerance(name, frame_rate=None)
    assert limits.allows(early_ms) and limits.allows(-late_ms)
    assert not limits.allows(early_ms + 0.1)
    assert not limits.allows(-late_ms - 0.1)


def test_early_and_late_are_not_the_same() -> None:
    ebu = parse_tolerance("ebu", None)
    assert (ebu.allows(50.0), ebu.allows(-50.0)) == (False, True)


def test_netflix_allows_one_frame_of_the_file() -> None:
    assert parse_tolerance("netflix", 25.0).allows(40.0)
    assert not parse_tolerance("netflix", 50.0).allows(40.0)
    with pytest.raises(UsageError, match="no frame rate"):
        parse_tolerance("netflix", None)


@pytest.mark.parametrize("text", ["", "strict", "40", "40,60,80", "-40,60", "nan,1", "inf,inf"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="is no tolerance"):
        parse_tolerance(text, 25.0)


def test_names_are_those_they_are_asked_for_by() -> None:
    assert {name: limits.name for name, limits in STANDARDS.items()} == {n: n for n in STANDARDS}
