"""Reports: a table that no spreadsheet can be attacked with, a page that needs nothing else."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.report.curve import chart, sparkline
from lipsync_cli.report.page import About, write_page
from lipsync_cli.report.rows import Row
from lipsync_cli.report.table import write_table
from lipsync_cli.results import ScoreResult, Segment
from lipsync_cli.scoring.pictures import FacePicture
from lipsync_cli.scoring.summary import summarise
from lipsync_cli.scoring.tolerance import Tolerance
from lipsync_cli.scoring.verdict import judged

HOSTILE = '<script>alert("x")</script>\u202e\x1b[2J\udc80&.mp4'
VOID = {"meta", "br", "img", "input"}
FOREIGN = re.compile(r"(?:src|href|url\()\s*[=:]?\s*[\"']?(?:https?:)?//", re.IGNORECASE)


def result(file: str = "a.mp4", offset_ms: float | None = 120.0, **fields: Any) -> ScoreResult:
    known = offset_ms is not None
    values: dict[str, Any] = {
        "file": file,
        "status": "measured" if known else "cannot_tell",
        "reason": None if known else "no face found",
        "offset_ms": offset_ms,
        "interval_ms": None if offset_ms is None else (offset_ms - 8, offset_ms + 8),
        "direction": None,
        "probability": 0.999,
        "offset_frames": None,
        "frame_rate": 25.0,
        "probability_in_sync": 0.5,
        "duration_s": 20.0,
        "timeline": tuple((float(i) + 0.5, offset_ms) for i in range(20)) if known else (),
    }
    return judged(ScoreResult(**{**values, **fields}), ("ebu", "5,15"))


def rows() -> list[Row]:
    picture = FacePicture(5.0, 0, b"\xff\xd8 a picture")
    parts = (Segment(0, 10, 0.0, (-8, 8), 0.99), Segment(10, 20, 120.0, (112, 128), 0.99))
    lse = {"lse_d": 7.125, "lse_c": 6.5, "av_offset": 3, "protocol": "tracked"}
    return [
        Row("a.mp4", result(), pictures=(picture,)),
        Row("b.mp4", result("b.mp4", 0.0, segments=parts, pattern="steps", **lse)),
        Row("c.mp4", result("c.mp4", None, warnings=(HOSTILE,))),
        Row(HOSTILE, result(HOSTILE, 3.0)),
        Row("bad.mp4", error=UnreadableMedia(HOSTILE, path="bad.mp4", hint="copy it again")),
    ]


def page(path: Path, files: list[Row]) -> str:
    known = [row.result for row in files if row.result is not None]
    summary = summarise(known, failed=len(files) - len(known))
    about = About(("ebu", "5,15"), datetime(2026, 5, 4, 3, 2, tzinfo=UTC), "1.2.3")
    write_page(files, summary, about, path)
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Fails on tags that do not match; keeps what the page holds."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(html: str) -> Elements:
    elements = Elements()
    elements.feed(html)
    assert elements.open == []
    return elements


def test_the_page_loads_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    html = page(tmp_path / "report.html", rows())
    assert FOREIGN.search(html) is None
    elements = read(html)
    assert [tag for tag, _ in elements.seen].count("script") == 1
    assert not any(name.startswith("on") for _, each in elements.seen for name in each)
    policy = next(each["content"] for _, each in elements.seen if "http-equiv" in each)
    assert policy is not None and policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    # The policy would forbid them.
    assert not any("style" in each for _, each in elements.seen)


def test_the_page_escapes_whatever_comes_from_outside(tmp_path: Path) -> None:
    html = page(tmp_path / "report.html", rows())
    assert "<script>alert" not in html
    assert not {"\u202e", "\x1b", "\udc80"} & set(html)
    shown = "".join(read(html).text)
    assert shown.count('<script>alert("x")<') >= 3


def test_the_page_says_verdicts_in_words(tmp_path: Path) -> None:
    shown = " ".join(" ".join(read(page(tmp_path / "report.html", rows())).text).split())
    for words in ("ebu fail", "ebu pass", "5,15 not checkable", "not checkable no face found"):
        assert words in shown
    assert "120 ms early" in shown and "± 8 ms, in steps" in shown
    assert "00:00:10:00 – 00:00:20:00" in shown
    assert "mean LSE-D of 1" in shown and "7.125" in shown


def test_the_worst_segments_come_first_with_their_faces(tmp_path: Path) -> None:
    html = page(tmp_path / "report.html", rows())
    cards = html[html.index("Worst segments") : html.index('class="tools"')]
    first, second = cards.split("</article>")[:2]
    assert "a.mp4" in first and "data:image/jpeg;base64,/9gg" in first
    assert "b.mp4" in second and "no picture" in second


def test_files_without_lse_have_no_columns_for_it(tmp_path: Path) -> None:
    html = page(tmp_path / "report.html", [Row("a.mp4", result())])
    assert "<button>LSE-D</button>" not in html
    elements = read(html)
    heads = sum(tag == "th" and "scope" in each for tag, each in elements.seen)
    spans = [each["colspan"] for _, each in elements.seen if "colspan" in each]
    assert spans == [str(heads)]


def test_a_curve_breaks_where_nothing_is_known_and_turns_red_outside() -> None:
    points = [0.0] * 5 + [None] * 5 + [120.0] * 5
    file = result(timeline=tuple((i + 0.5, x) for i, x in enumerate(points)))
    svg = sparkline(file, Tolerance(40.0, 60.0))
    assert re.findall(r'<path class="(line[^"]*)" d="M([\d.]+)', svg) == [
        ("line", "5.2"),
        ("line out", "88.2"),
    ]
    assert chart(result(offset_ms=None), None) == ""
    assert "no curve" in sparkline(result(offset_ms=None), None)


def test_the_table_has_a_line_per_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_table(rows(), path)
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["file"] for line in lines[:3]] == ["a.mp4", "b.mp4", "c.mp4"]
    assert [line["ok"] for line in lines] == ["yes"] * 4 + ["no"]
    assert lines[0]["verdict ebu"] == "fail"
    assert lines[1]["out of ebu"] == "00:00:10:00-00:00:20:00 +120.0 ms"
    assert (lines[1]["lse_d"], lines[0]["lse_d"]) == ("7.125", "")
    assert "copy it again" in lines[4]["error"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|calc", "%0A"])
def test_no_cell_of_the_table_is_a_formula(tmp_path: Path, name: str) -> None:
    path = tmp_path / "scores.csv"
    write_table([Row(name, result(name, -80.0, warnings=(name,)))], path)
    with path.open(encoding="utf-8", newline="") as stream:
        head, line = list(csv.reader(stream))
    for column, cell in zip(head, line, strict=True):
        assert not cell.startswith(("=", "+", "@", "\t", "\r", "|", "%"))
        # Negative numbers are numbers.
        assert not cell.startswith("-") or column.endswith("_ms")
