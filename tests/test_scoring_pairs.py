"""Public pair lists: which column is which, what the names mean, and what may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.errors import InputError, LipsyncError, MediaNotFound, UsageError
from lipsync_cli.scoring.pairs import STYLES, read_pairs


def _list(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_bytes(text.encode())
    return path


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("style", ["lrw", "lrs2", "lrs3"])
def test_wav2lip_lists_name_the_audio_first_and_leave_the_suffix_out(
    tmp_path: Path, style: str
) -> None:
    root = tmp_path / "data"
    _touch(root, "6339/00098.mp4", "6330/00011.mp4")
    [pair] = read_pairs(_list(tmp_path, "6339/00098 6330/00011\n"), style, root)
    assert pair.audio == root / "6339/00098.mp4"
    assert pair.video == root / "6330/00011.mp4"


def test_resynced_lists_name_the_video_first(tmp_path: Path) -> None:
    _touch(tmp_path, "adam_1.mp4", "speech.wav", "sg.mp4")
    listing = _list(tmp_path, "adam_1.mp4 speech.wav\nsg.mp4 sg.mp4")
    spoken, dubbed = read_pairs(listing, "resynced")
    assert (spoken.video.name, spoken.audio.name) == ("adam_1.mp4", "speech.wav")
    assert dubbed.video == dubbed.audio == tmp_path / "sg.mp4"


def test_clips_of_lrw_are_found_in_its_own_layout(tmp_path: Path) -> None:
    _touch(tmp_path, "BRING/test/BRING_00018.mp4", "WESTERN_00039.mp4")
    [pair] = read_pairs(_list(tmp_path, "BRING_00018 WESTERN_00039"), "lrw")
    assert pair.audio == tmp_path / "BRING/test/BRING_00018.mp4"
    assert pair.video == tmp_path / "WESTERN_00039.mp4"


def test_results_keep_the_number_of_their_line(tmp_path: Path) -> None:
    text = "\ufeffa/1 b/1\r\n\r\n# a remark\r\n  c/1\td d/1  \r\n"
    pairs = read_pairs(_list(tmp_path, text), "lrs3", check_files=False)
    assert [(pair.line, pair.result_name) for pair in pairs] == [(1, "0.mp4"), (4, "3.mp4")]
    assert pairs[1].video == tmp_path / "d d/1.mp4"


@pytest.mark.parametrize(
    ("style", "text", "words"),
    [
        ("lrs2", "a/1 b/1\na/2\n", ["line 2", "1 columns"]),
        ("lrs2", "a/1 b/1 c/1\n", ["line 1", "3 columns"]),
        ("lrs2", "a\t\n", ["line 1", "two"]),
        ("lrs2", "one.mp4 two.wav\n", ["line 1", "one.mp4", "suffix .mp4", "style"]),
        ("resynced", "# x\na/1 b/1\n", ["line 2", "a/1", "no suffix", "style"]),
        ("resynced", "\n# nothing\n", ["holds no pairs"]),
    ],
)
def test_malformed_list_is_named_with_its_line(
    tmp_path: Path, style: str, text: str, words: list[str]
) -> None:
    listing = _list(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_pairs(listing, style, check_files=False)
    assert all(word in str(error.value) for word in [*words, str(listing)])


def test_missing_files_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.mp4", "b/1.mp4")
    listing = _list(tmp_path, "a/1 b/1\na/2 b/2\na/1 b/2\n")
    with pytest.raises(MediaNotFound) as error:
        read_pairs(listing, "lrs2")
    for words in ("line 2", str(tmp_path / "b/2.mp4"), "2 of 3 pairs"):
        assert words in str(error.value)
    assert len(read_pairs(listing, "lrs2", check_files=False)) == 3


def test_what_is_no_list_at_all(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(bytes(range(256)))
    cases: list[tuple[Path, str, type[LipsyncError]]] = [
        (tmp_path / "clip.mp4", "lrs2", InputError),
        (tmp_path, "lrs2", InputError),
        (tmp_path / "none.txt", "lrs2", MediaNotFound),
        (_list(tmp_path, "a/1 b/1"), "lrs4", UsageError),
    ]
    for path, style, kind in cases:
        with pytest.raises(kind):
            read_pairs(path, style)
    assert STYLES == ("lrw", "lrs2", "lrs3", "resynced")
