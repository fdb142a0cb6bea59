"""Read a rewritten file back: every picture at its time, every copied packet as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer

from lipsync_cli.media.probe import main_video, open_media, probe
from lipsync_cli.media.remux_check import Tally, expect_move, measure_move, read_back
from lipsync_cli.media.remux_streams import kept_tags

_SHAPE_TOLERANCE = 0.01


def check_rewritten(
    written: Mapping[int, Tally],
    path: Path,
    grid_ms: float,
    progress: Callable[[float], None] | None = None,
) -> float:
    """Compare a file with the packets that went into it; returns by how many ms all moved.

    Args:
        written: tallies by index of the output stream, the picture's among them.
        grid_ms: step of the container's clock.

    Raises:
        OutputError: a packet is missing, or a stream is not where it should be.
    """
    pairs, _ = read_back(written, path, progress)
    moves = {index: measure_move(before, after) for index, (before, after) in pairs.items()}
    lifted_ms = next(moves[i].mean_ms for i in moves if written[i].kind == "video")
    for index, move in moves.items():
        expect_move(move, lifted_ms, grid_ms, path, index)
    return round(lifted_ms, 3)


def lost_of(source: Path, copy: Path) -> list[str]:
    """Say in words what of the file and of its picture the container could not keep."""
    with open_media(source) as before, open_media(copy) as after:
        lost = list(_lost(before, after))
    turned = [info.video.rotation if info.video else 0 for info in (probe(source), probe(copy))]
    if turned[0] != turned[1]:
        lost.append(f"the rotation by {turned[0]} degrees")
    return lost


def _lost(before: InputContainer, after: InputContainer) -> Iterator[str]:
    held = {key.lower(): value for key, value in after.metadata.items()}
    tags = kept_tags(before.metadata).items()
    # A comment may have got an addition.
    missing = sorted(key for key, value in tags if value not in held.get(key.lower(), ""))
    if missing:
        yield f"tags of the file: {', '.join(missing)}"
    chapters = len(before.chapters()), len(after.chapters())
    if chapters[1] < chapters[0]:
        yield f"{chapters[0] - chapters[1]} of {chapters[0]} chapters"
    shapes = [_shape(container) for container in (before, after)]
    if abs(float(shapes[1] / shapes[0]) - 1) > _SHAPE_TOLERANCE:
        yield f"the pixel aspect ratio {shapes[0]}"


def _shape(container: InputContainer) -> Fraction:
    stream = main_video(container)
    return (stream.sample_aspect_ratio if stream else None) or Fraction(1)
