"""New speech on a rendered face: what changes, what does not, and whether the lips follow."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
import torch
from conftest import ClipFactory
from numpy.typing import NDArray
from PIL import Image

from lipsync_cli.dub import DubOptions, default_output, dub_video
from lipsync_cli.dubbing.generator.designs import design
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.errors import NotTrustworthy, OutputError, UsageError, WeightsError
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.render import render_clip

SECONDS, LONGER, SIZE = 5.0, 6.0, 128
LOSSLESS = EncoderOptions(lossless=True)
Pictures = NDArray[np.uint8]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    return render_clip(path, duration_s=SECONDS, size=SIZE, seed=3).path


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other words, for longer."""
    path = tmp_path_factory.mktemp("speech") / "speech.mp4"
    return render_clip(path, duration_s=LONGER, size=64, seed=11).path


def decoded(path: Path) -> tuple[list[float], Pictures]:
    """Times, and luma [n, h, w]."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = [float(frame.time or 0) for frame in frames]
        return times, np.stack([frame.to_ndarray(format="gray") for frame in frames])


def test_only_the_lower_face_changes_and_the_lips_follow(
    talking: Path, speech: Path, tmp_path: Path
) -> None:
    told: list[float] = []
    options = DubOptions(engine="rewrite", extend="cut", video=LOSSLESS)
    result = dub_video(talking, speech, tmp_path / "out.mp4", options=options, progress=told.append)
    before_s, before = decoded(talking)
    after_s, after = decoded(tmp_path / "out.mp4")
    assert after_s == before_s
    differs = before != after
    assert differs.any((1, 2)).sum() == result.frames_changed > len(before_s) / 2
    rows, columns = np.flatnonzero(differs.any((0, 2))), np.flatnonzero(differs.any((0, 1)))
    # The rendered face fills the picture; eyes and forehead lie in its upper half.
    assert rows[0] > before.shape[1] * 0.45
    assert columns[-1] - columns[0] < before.shape[2] * 0.75
    assert result.engine == "rewrite" and 0 <= (result.coverage or 0) <= 1
    assert result.follows and result.offset_ms_after == pytest.approx(0, abs=60)
    assert told == sorted(told) and told[-1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("extend", ["freeze", "loop", "pingpong"])
def test_the_picture_outlasts_longer_speech(
    talking: Path, speech: Path, tmp_path: Path, extend: str
) -> None:
    options = DubOptions(engine="rewrite", extend=extend, verify=False)  # type: ignore[arg-type]
    result = dub_video(talking, speech, tmp_path / "out.mp4", options=options)
    times, pictures = decoded(tmp_path / "out.mp4")
    assert times[-1] == pytest.approx(LONGER, abs=0.1)
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-3)
    assert result.frames == len(times)
    last, added = round(SECONDS * 25) - 1, pictures[round(SECONDS * 25) :].astype(float)
    middle, third = slice(40, 80), SIZE // 3
    moved = np.abs(np.diff(added[:, :third], axis=0)).mean()
    still = np.abs(added[0, :third] - pictures[last, :third]).mean()
    # Only a frozen picture keeps its upper part; only a loop leaps.
    assert (moved < 0.5) == (extend == "freeze")
    assert (still > 2.0) == (extend == "loop")
    assert np.abs(np.diff(added[:, SIZE // 2 :, middle], axis=0)).max() > 8


def test_shorter_speech_leaves_the_rest_alone(
    talking: Path, clip: ClipFactory, tmp_path: Path
) -> None:
    short = clip(".wav", vcodec=None, duration_s=2.0)
    options = DubOptions(engine="rewrite", verify=False, video=LOSSLESS)
    dub_video(talking, short, tmp_path / "out.mp4", options=options)
    _, before = decoded(talking)
    _, after = decoded(tmp_path / "out.mp4")
    assert len(before) == len(after)
    assert (before[52:] == after[52:]).all()


def test_a_part_and_its_original_sound(talking: Path, speech: Path, tmp_path: Path) -> None:
    options = DubOptions(engine="rewrite", start_s=1.0, end_s=3.0, keep_original=True, verify=False)
    result = dub_video(talking, speech, tmp_path / "out.mkv", options=options)
    assert result.frames == 50
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams.audio) == 2
        assert "compositeWithTrained" in container.metadata["DIGITAL_SOURCE_TYPE"]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny generator of random weights: what it draws is no face."""
    torch.manual_seed(0)
    network = Generator(design(2, 4, 4, size=96, residuals=0))
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"state_dict": network.state_dict()}, path)
    return path


def test_a_generator_draws(talking: Path, speech: Path, tmp_path: Path, generator: Path) -> None:
    options = DubOptions(generator=generator, extend="cut", verify=False, video=LOSSLESS)
    result = dub_video(talking, speech, tmp_path / "out.mp4", options=options)
    before_s, before = decoded(talking)
    after_s, after = decoded(tmp_path / "out.mp4")
    assert result.engine == "wav2lip" and result.coverage is None
    assert after_s == before_s
    changed = (before != after).any((0, 2))
    assert changed.any() and np.flatnonzero(changed)[0] > before.shape[1] * 0.4


def test_a_photograph_speaks_with_a_generator_only(
    speech: Path, tmp_path: Path, generator: Path
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.mp4"
    Image.fromarray(skimage.data.astronaut()[:256, 96:352]).save(photo)
    with pytest.raises(NotTrustworthy, match="photograph"):
        dub_video(photo, speech, out, options=DubOptions(engine="rewrite"))
    options = DubOptions(generator=generator, verify=False)
    result = dub_video(photo, speech, out, options=options)
    times, _ = decoded(out)
    assert times[-1] == pytest.approx(LONGER, abs=0.1)
    assert result.frames_changed > 0.9 * len(times)


def test_what_cannot_be_dubbed_is_said_and_nothing_is_written(
    talking: Path, speech: Path, clip: ClipFactory, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(NotTrustworthy, match="face"):
        dub_video(clip(".mp4", duration_s=2.0), speech, out)
    with pytest.raises(UsageError, match="no face '3'"):
        dub_video(talking, speech, out, options=DubOptions(face="3"))
    with pytest.raises(WeightsError) as missing:
        dub_video(talking, speech, out, options=DubOptions(engine="wav2lip"))
    assert "lipsync weights import" in str(missing.value)
    with pytest.raises(UsageError, match="no picture between"):
        dub_video(talking, speech, out, options=DubOptions(start_s=50.0))
    with pytest.raises(UsageError, match="same file"):
        dub_video(talking, speech, talking, overwrite=True)
    assert not list(tmp_path.iterdir())
    out.write_bytes(b"kept")
    with pytest.raises(OutputError):
        dub_video(talking, speech, out)
    assert out.read_bytes() == b"kept"


def test_results_lie_beside_the_video() -> None:
    assert default_output(Path("a/clip.mov")) == Path("a/clip.dubbed.mov")
    assert default_output(Path("photo.JPG")) == Path("photo.dubbed.mp4")
