"""Offsets, times and probabilities in words."""

from __future__ import annotations

import pytest

from lipsync_cli.cli import wording


@pytest.mark.parametrize(
    ("time_s", "rate", "expected"),
    [
        (0.0, 25.0, "00:00:00:00"),
        (3661.52, 25.0, "01:01:01:13"),
        (1.0, 24000 / 1001, "00:00:01:00"),
        # SMPTE 12M: minute 1 starts with number 02, minute 10 with 00; an hour stays an hour.
        (1799 * 1001 / 30000, 30000 / 1001, "00:00:59;29"),
        (1800 * 1001 / 30000, 30000 / 1001, "00:01:00;02"),
        (17982 * 1001 / 30000, 30000 / 1001, "00:10:00;00"),
        (3600.0, 30000 / 1001, "01:00:00;00"),
        (3600 * 1001 / 60000, 60000 / 1001, "00:01:00;04"),
        (2.5, None, "00:00:02.500"),
    ],
)
def test_timecode(time_s: float, rate: float | None, expected: str) -> None:
    assert wording.timecode(time_s, rate) == expected


@pytest.mark.parametrize(
    ("interval_ms", "expected"),
    [
        ((112.0, 128.0), "112..128 ms"),
        ((-128.0, -112.0), "112..128 ms"),
        ((-4.0, 12.0), "4 ms late to 12 ms early"),
        ((-12.0, 0.0), "0..12 ms"),
    ],
)
def test_intervals_are_read_in_the_direction_of_the_offset(
    interval_ms: tuple[float, float], expected: str
) -> None:
    assert wording.interval_words(interval_ms) == expected


def test_probability_never_rounds_up_to_certainty() -> None:
    assert [wording.probability(p) for p in (0.9, 0.9999, 1.0)] == ["0.90", "0.99", "1.00"]


def test_terminals_get_no_control_characters() -> None:
    assert wording.printable("a\x1b[2J\n\x9b\udc80\u2066é") == r"a\x1b[2J\n\x9b\udc80\u2066é"
