"""Public lists of audio-video pairs on which lip-sync generators are evaluated.

The lists of Wav2Lip's evaluation (evaluation/test_filelists in Rudrabha/Wav2Lip) have two
columns between white space and no head:

    lrw, lrs2, lrs3   AUDIO VIDEO   names without suffix; ".mp4" below the data's root
    resynced          VIDEO AUDIO   file names with suffix; the columns are reversed
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.errors import InputError, MediaNotFound, UsageError

_SUFFIX = ".mp4"
_MEDIA = frozenset({".mp4", ".wav", ".mkv", ".mov", ".avi", ".webm", ".m4a", ".mp3", ".flac"})


@dataclass(frozen=True)
class Pair:
    """The picture of one clip that is to speak the sound of another.

    Attributes:
        video, audio: files to take the picture and the sound from; both may be one file.
        line: number of the line in the list, from 1.
    """

    video: Path
    audio: Path
    line: int

    @property
    def result_name(self) -> str:
        """Name under which Wav2Lip's scripts save the video made of this pair."""
        return f"{self.line - 1}.mp4"


@dataclass(frozen=True)
class _Style:
    """Whether the video comes first, and whether names are file names."""

    video_first: bool = False
    suffixed: bool = False


_STYLES = {
    "lrw": _Style(),
    "lrs2": _Style(),
    "lrs3": _Style(),
    "resynced": _Style(video_first=True, suffixed=True),
}
STYLES = tuple(_STYLES)


def read_pairs(
    path: str | Path,
    style: str,
    data_root: str | Path | None = None,
    *,
    check_files: bool = True,
) -> list[Pair]:
    """Read a list of pairs; blank lines and lines that start with # are left out.

    Names that hold blanks have to be separated by a tab. Clips of LRW are also found in
    the layout in which it comes: WORD/test/WORD_00001.mp4.

    Args:
        style: one of `STYLES`; it says in which order the columns are.
        data_root: folder from which the names start; that of the list when None.
        check_files: whether every file has to be there.

    Raises:
        UsageError: there is no such style.
        MediaNotFound: the list, or a file that it names, is missing.
        InputError: it is no list of pairs, or one of another style.
    """
    if style not in _STYLES:
        raise UsageError(f"there is no pair list {style!r}", hint=f"one of {', '.join(STYLES)}")
    path = Path(path)
    root = path.parent if data_root is None else Path(data_root)
    pairs = [_pair(path, line, names, style, root) for line, names in _rows(path)]
    if not pairs:
        raise InputError("holds no pairs", path=path, hint="two names a line")
    if check_files:
        _require_files(path, pairs)
    return pairs


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and columns of every line that counts."""
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        names = [name.strip() for name in (text.split("\t") if "\t" in text else text.split())]
        if len(names) != 2 or not all(names):
            raise InputError(
                f"line {line} has {len(names)} columns instead of two",
                path=path,
                hint="two names a line; put a tab between names that hold blanks",
            )
        yield line, names


def _lines(path: Path) -> list[str]:
    if not path.exists():
        raise MediaNotFound("there is no such list", path=path, hint="check the path")
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read as a list of pairs: {error}", path=path, hint="give a text file"
        ) from error


def _pair(path: Path, line: int, names: list[str], style: str, root: Path) -> Pair:
    order = _STYLES[style]
    for name in names:
        suffix = Path(name).suffix.lower()
        if not (suffix if order.suffixed else suffix not in _MEDIA):
            which = "no suffix" if order.suffixed else f"the suffix {suffix}"
            raise InputError(
                f"line {line}: {name!r} has {which}, unlike the names of {style} lists",
                path=path,
                hint="check the style: the columns are in another order in lists of another style",
            )
    first, second = (_located(root, name, style) for name in names)
    video, audio = (first, second) if order.video_first else (second, first)
    return Pair(video, audio, line)


def _located(root: Path, name: str, style: str) -> Path:
    if _STYLES[style].suffixed:
        return root / name
    flat = root / (name + _SUFFIX)
    if style == "lrw" and not flat.exists():
        nested = root / name.rpartition("_")[0] / "test" / flat.name
        return nested if nested.exists() else flat
    return flat


def _require_files(path: Path, pairs: list[Pair]) -> None:
    missing = [
        (pair.line, file)
        for pair in pairs
        for file in (pair.video, pair.audio)
        if not file.is_file()
    ]
    if not missing:
        return
    line, file = missing[0]
    lacking = f"{len({line for line, _ in missing})} of {len(pairs)} pairs lack a file"
    raise MediaNotFound(
        f"line {line} names {file}, which is not there; {lacking}",
        path=path,
        hint="give the folder from which the names start as the data's root",
    )
