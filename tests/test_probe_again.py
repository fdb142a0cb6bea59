"""Descriptions of files are kept, but never beyond a change of the file."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from conftest import ClipFactory

from lipsync_cli.errors import MediaNotFound
from lipsync_cli.media.probe import probe


def test_a_file_is_described_once_until_it_changes(
    clip: ClipFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = clip().read_bytes(), clip(duration_s=3.0).read_bytes()
    opened: list[str] = []
    real = av.open
    monkeypatch.setattr(
        av, "open", lambda *args, **how: opened.append(args[0]) or real(*args, **how)
    )
    path = tmp_path / "clip.mp4"
    path.write_bytes(before)
    first = probe(path)
    assert probe(path) is first
    assert len(opened) == 1
    path.write_bytes(after)
    assert probe(path).duration_s == pytest.approx(3.0, abs=0.1)
    path.unlink()
    with pytest.raises(MediaNotFound):
        probe(path)
