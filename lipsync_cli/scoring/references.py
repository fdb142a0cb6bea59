"""Which real video each generated one is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lipsync_cli.errors import MediaNotFound, UsageError
from lipsync_cli.scoring.pairs import read_pairs


@dataclass(frozen=True)
class References:
    """A rule for finding references, small enough to travel with every job.

    Attributes:
        real: a video, or a folder of videos of the same names as the generated ones.
        filelist: a public list of pairs; generated videos are named by its lines (0.mp4 for
            the first) and compared with the picture of their pair.
        style, data_root: of the list, as in `pairs.read_pairs`.
    """

    real: Path | None = None
    filelist: Path | None = None
    style: str = "lrs2"
    data_root: Path | None = None

    def __bool__(self) -> bool:
        return self.real is not None or self.filelist is not None

    def of(self, path: Path) -> Path | None:
        """Find the reference of one generated video; None where none was asked for.

        Raises:
            MediaNotFound: there is none for this video.
        """
        if self.filelist is not None:
            return self._paired(path)
        if self.real is None or not self.real.is_dir():
            return self.real
        same = self.real / path.name
        found = same if same.is_file() else next(iter(sorted(self.real.glob(_named(path)))), None)
        if found is None:
            raise MediaNotFound(
                f"there is no reference of its name in {self.real}",
                path=path,
                hint="name the real videos like the generated ones",
            )
        return found

    def check(self, paths: Sequence[Path]) -> None:
        """Refuse what cannot work, before any work.

        Raises:
            UsageError: one reference for several videos, or two rules at once.
            MediaNotFound: there is no such reference.
        """
        if self.real is not None and self.filelist is not None:
            raise UsageError("only one of --reference and --filelist can be used")
        if self.real is None:
            return
        if not self.real.exists():
            raise MediaNotFound("there is no such reference", path=self.real)
        if len(paths) > 1 and not self.real.is_dir():
            raise UsageError(
                "one reference for several files",
                path=self.real,
                hint="give --reference a folder of videos with the same names",
            )

    def results_in(self, folder: Path) -> list[Path]:
        """List the videos in a folder that were made from the pairs, in the list's order."""
        names = [folder / name for name in self._pairs()]
        return [path for path in names if path.is_file()]

    def pairs(self) -> int:
        """Number of pairs in the list."""
        return len(self._pairs())

    def _paired(self, path: Path) -> Path:
        real = self._pairs().get(path.name)
        if real is None:
            raise MediaNotFound(
                f"no line of {self.filelist} belongs to it",
                path=path,
                hint="results are named by the number of their line: 0.mp4 is the first",
            )
        return real

    def _pairs(self) -> dict[str, Path]:
        return _videos_of(self)


@lru_cache(maxsize=4)
def _videos_of(rule: References) -> dict[str, Path]:
    assert rule.filelist is not None
    pairs = read_pairs(rule.filelist, rule.style, rule.data_root, check_files=False)
    return {pair.result_name: pair.video for pair in pairs}


def _named(path: Path) -> str:
    """Pattern of files of the same name with any suffix."""
    escaped = "".join(f"[{char}]" if char in "*?[" else char for char in path.stem)
    return f"{escaped}.*"
