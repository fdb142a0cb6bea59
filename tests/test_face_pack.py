"""Packed faces: what is read back is what the product would see and hear."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from lipsync_cli.dubbing.compositing.canvas import Place
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.generator.mel import wav2lip_mel, windows_at
from lipsync_cli.dubbing.generator.wav2lip import CropGeometry
from lipsync_cli.errors import InputError, UsageError
from lipsync_cli.faces.detect import FaceDetector, create_detector
from lipsync_cli.faces.stream import FaceStream
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.pictures import read_pictures
from lipsync_cli.media.reader import read
from lipsync_cli.media.upright import read_upright
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.render import render_clip
from lipsync_cli.training.commands import expert
from lipsync_cli.training.faces import write as face_pack_write
from lipsync_cli.training.faces.cut import cut_face
from lipsync_cli.training.faces.pack import (
    MARGIN,
    MEL_LEVELS,
    SIDE,
    PackedClip,
    compress_mel,
    expand_mel,
    hold_out,
    load_pack,
    mel_values,
    recentred,
)
from lipsync_cli.training.faces.write import pack_faces, sure_sources
from lipsync_cli.training.sync.prepare import Source

# Half a step of the stored mel.
STEP = 8 / (MEL_LEVELS - 1) / 2


@dataclass(frozen=True)
class Folder:
    """Two clips of the same words, the second at 50 fps with its sound 120 ms early."""

    sources: list[Source]
    table: Path
    pack: Path
    clips: list[PackedClip]


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return create_detector()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, detector: FaceDetector) -> Folder:
    place = tmp_path_factory.mktemp("packed")
    for name, offset_ms, fps in (("a", 0.0, 25), ("b", 120.0, 50)):
        path = place / f"{name}.mp4"
        render_clip(path, duration_s=1.72, size=288, fps=fps, audio_offset_ms=offset_ms, seed=4)
    sources = [Source(place / f"{n}.mp4", f"{n}.mp4", n, "wild") for n in "ab"]
    table = place / "lags.csv"
    # The table calls 8 ms early what is in sync.
    table.write_text("file,lag_ms,margin\na.mp4,-8,0.05\nb.mp4,-128,0.05\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_pack_write, "PART_CLIPS", 1)
        assert pack_faces(sources, table, place / "pack", "train.0", detector) == 2
    return Folder(sources, table, place / "pack", load_pack(place / "pack", "train"))


def made(offset_ms: float = 0.0, corpus: str = "wild", group: str = "x") -> PackedClip:
    """Two seconds whose column i is worth i, from 0.5 s on."""
    mel = np.broadcast_to(np.arange(160, dtype=np.uint8), (80, 160))
    faces = np.zeros((50, 1, 1, 3), np.uint8)
    return PackedClip("x", group, corpus, np.arange(50) / 25, faces, mel, 0.5, offset_ms)


# Reading.


def test_a_window_begins_at_the_picture_less_the_own_offset() -> None:
    def first(clip: PackedClip, t_s: float) -> int:
        return round((float(clip.mel_window(t_s)[0, 0]) + 4) / 8 * 255)

    assert first(made(), 1.5) == 80
    # The sound is 100 ms early: what belongs to 1.5 s was heard at 1.4 s.
    assert first(made(100.0), 1.5) == 72
    assert first(made(-50.0), 1.5) == 84


def test_windows_are_those_of_the_product() -> None:
    clip = made()
    times_s = np.array([0.1, 0.4375, 0.733, 1.29, 2.4, 3.0])
    expected = windows_at(mel_values(clip.mel), clip.mel_t0_s, times_s)
    np.testing.assert_array_equal([clip.mel_window(float(t)) for t in times_s], expected)
    assert (clip.mel_window(3.0) == -4).all() and (clip.mel_window(0.1) == -4).all()


def test_mel_comes_back_to_half_a_step() -> None:
    mel = np.random.default_rng(0).uniform(-4, 4, (80, 300))
    mel[:, 100:120] = -4
    levels = np.round((mel + 4) / 8 * (MEL_LEVELS - 1)).astype(np.uint8)
    back = mel_values(expand_mel(compress_mel(levels)))
    assert back.shape == mel.shape
    # Rounded to one of 256 values on top.
    assert np.abs(back - mel).max() <= STEP + 4 / 255
    assert (back[:, 100:120] == -4).all()


def test_scripted_corpora_share_one_offset() -> None:
    clips = [made(o, "GRID") for o in (10.0, 30.0, 80.0)] + [made(55.0), made(np.nan, "GRID")]
    assert [c.offset_ms for c in recentred(clips)] == [30.0, 30.0, 30.0, 55.0, 30.0]


def test_the_same_people_are_held_out() -> None:
    clips = [made(group=str(i % 20)) for i in range(60)]
    kept, out = hold_out(clips, 0.1)
    assert len({c.group for c in out}) == 2 and len(out) == 6
    assert not {c.group for c in out} & {c.group for c in kept}
    assert {c.group for c in hold_out(clips[::-1], 0.1)[1]} == {c.group for c in out}


def test_training_needs_nothing_but_numpy_opencv_and_torch() -> None:
    """A machine with a graphics card may have no video library and no command line."""
    for module in ("faces.pack", "expert.train", "expert.evaluate"):
        found = _needed(f"lipsync_cli.training.{module}")
        assert found - set(sys.stdlib_module_names) <= {"numpy", "cv2", "torch"}
    assert "av" in _needed("lipsync_cli.training.faces.write")


def _needed(name: str, seen: set[str] | None = None) -> set[str]:
    """Libraries that importing a module imports, as far as statements at the margin say."""
    seen = set() if seen is None else seen
    path = _file_of(name)
    if path is None or name in seen:
        return set()
    seen.add(name)
    found = _needed(name.rpartition(".")[0], seen) if "." in name else set()
    for node in ast.parse(path.read_text()).body:
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        for each in names:
            own = each.startswith("lipsync_cli")
            found |= _needed(each, seen) if own else {each.partition(".")[0]}
    return found


def _file_of(module: str) -> Path | None:
    """Where the source of a module is; None where the name is of something in one."""
    place = Path(face_pack_write.__file__).parents[3].joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.exists()), None)


# Round trip.


def test_pictures_keep_their_times_and_labels(folder: Folder) -> None:
    for clip, offset_ms in zip(folder.clips, (0.0, 120.0), strict=True):
        assert clip.faces.shape == (43, SIDE, SIDE, 3)
        np.testing.assert_allclose(clip.pts_s, np.arange(43) / 25, atol=1e-6)
        assert clip.offset_ms == pytest.approx(offset_ms, abs=0.01)
    assert [(c.file, c.group) for c in folder.clips] == [("a.mp4", "a"), ("b.mp4", "b")]


def test_sound_is_the_product_s_to_half_a_step(folder: Folder) -> None:
    clip = folder.clips[0]
    items = read(folder.sources[0].path, video=False)
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    mel = wav2lip_mel(np.concatenate([block.samples for block in blocks]))
    expected = windows_at(mel, blocks[0].t0_s, clip.pts_s)
    found = np.stack([clip.mel_window(float(t)) for t in clip.pts_s])
    assert np.abs(found - expected).max() <= STEP + 4 / 255


def test_the_own_offset_is_taken_out(folder: Folder) -> None:
    a, b = folder.clips

    def apart(other: PackedClip) -> float:
        windows = [(a.mel_window(t), other.mel_window(t)) for t in a.pts_s[5:-10].tolist()]
        return float(np.mean([np.abs(x - y) for x, y in windows]))

    # 120 ms are 9.6 columns, so that the columns of the two lie a fraction of one apart.
    assert apart(replace(b, offset_ms=0.0)) > 0.8
    assert apart(b) < 0.5 * apart(replace(b, offset_ms=0.0))


def test_pictures_are_the_crops_of_dubbing(folder: Folder, detector: FaceDetector) -> None:
    path, clip = folder.sources[0].path, folder.clips[0]
    upright, pictures = read_upright(path), list(read_pictures(path))
    faces = FaceStream(detector)
    frames = [item for item in read(path, audio=False) if isinstance(item, VideoFrame)]
    chunks = [c for frame in frames for c in faces.push(frame)] + faces.close()
    landmarks = np.concatenate([c.landmarks for c in chunks])
    for place in (3, 30):
        cut = cut_face(pictures[place], landmarks[place], upright)
        assert _psnr(clip.faces[place], cut) > 28
        # OpenCV's decoder rounds down; nothing else may change colours.
        assert np.abs((clip.faces[place] - cut.astype(float)).mean((0, 1))).max() < 2.5
        crop = Place(96, CropGeometry().matrix(landmarks[place]), upright)
        inner = cut[MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert _psnr(inner, cut_canvas(pictures[place], crop).to_bgr()) > 40
        whole = pictures[place].to_ndarray(format="bgr24")
        warped = cv2.warpAffine(whole, _upright_map(landmarks[place]), (SIDE, SIDE))
        assert _psnr(cut, np.asarray(warped, np.uint8)) > 26


def _upright_map(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Least squares onto the FFHQ face, then the box of S3FD with 10 of 180 px below it."""
    face = np.array(
        [(0.377, 0.469), (0.623, 0.469), (0.501, 0.613), (0.393, 0.725), (0.611, 0.725)]
    )
    x, y = landmarks.T.astype(float)
    one, no = np.ones(5), np.zeros(5)
    rows = np.concatenate([np.stack([x, -y, one, no], 1), np.stack([y, x, no, one], 1)])
    a, b, right, down = np.linalg.lstsq(rows, face.T.ravel(), rcond=None)[0]
    turn = np.array([[a, -b, right - 0.242], [b, a, down - 0.234]])
    turn *= np.array([[96 / 0.516], [96 / (0.688 * (1 + 10 / 180))]])
    turn[:, 2] += MARGIN - 0.5
    return turn


def _psnr(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    return float(cv2.PSNR(np.ascontiguousarray(found), np.ascontiguousarray(expected)))


def test_compression_keeps_faces(folder: Folder, tmp_path: Path, detector: FaceDetector) -> None:
    pack_faces(folder.sources[:1], folder.table, tmp_path, "train.0", detector, crf=1)
    (fine,) = load_pack(tmp_path, "train")
    for coarse, exact in zip(folder.clips[0].faces[::11], fine.faces[::11], strict=True):
        assert _psnr(coarse, exact) > 30


# Writing.


def test_guesses_are_left_out_and_scripted_corpora_come_last(tmp_path: Path) -> None:
    table = tmp_path / "lags.csv"
    table.write_text("file,lag_ms,margin\nsure,1,0.05\nguess,1,0.001\nword,1,0.001\n")
    corpora = {"word": "LRW-AR", "guess": "wild", "sure": "wild", "unknown": "wild"}
    sources = [Source(tmp_path / f, f, "s", corpus) for f, corpus in corpora.items()]
    assert [s.file for s in sure_sources(sources, table)] == ["sure", "word"]


def test_interrupted_packing_goes_on(
    folder: Folder, tmp_path: Path, detector: FaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that are there stay; what cannot be read is told and leaves no part behind."""
    broken = Source(tmp_path / "c.mp4", "b.mp4", "c", "wild")
    broken.path.write_bytes(b"no video")
    for name in ("train.0.000.mp4", "train.0.000.npz"):
        (tmp_path / name).write_bytes((folder.pack / name).read_bytes())
    monkeypatch.setattr(face_pack_write, "PART_CLIPS", 1)
    told: list[str] = []
    before = (tmp_path / "train.0.000.mp4").stat().st_mtime_ns
    sources = [folder.sources[0], broken]
    count = pack_faces(sources, folder.table, tmp_path, "train.0", detector, log=told.append)
    assert count == 0 and (tmp_path / "train.0.000.mp4").stat().st_mtime_ns == before
    assert any("c.mp4" in line for line in told)
    assert [c.file for c in load_pack(tmp_path, "train")] == ["a.mp4"]


# Damage.


@pytest.fixture
def copied(folder: Folder, tmp_path: Path) -> Path:
    for path in folder.pack.glob("train.0.000.*"):
        if path.suffix != ".u8":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("train.0.000.npz", cut_short, "no index of a pack"),
        ("train.0.000.mp4", cut_short, "pictures instead of 43"),
        ("train.0.000.mp4", Path.unlink, "0 pictures instead of 43"),
    ],
)
def test_damaged_parts_are_named(
    copied: Path, name: str, spoil: Callable[[Path], None], message: str
) -> None:
    assert len(load_pack(copied, "train")) == 1
    (copied / "train.0.000.u8").unlink()
    spoil(copied / name)
    with pytest.raises(InputError, match=message) as caught:
        load_pack(copied, "train")
    assert caught.value.path == str(copied / name) and caught.value.hint
    assert not list(copied.glob("*.u8*"))


def test_an_empty_folder_says_what_to_do(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no packed faces of the split 'train'"):
        load_pack(tmp_path, "train")
    with pytest.raises(InputError, match="'val'"):
        load_pack(folder.pack, "val")


def test_what_was_unpacked_halfway_is_unpacked_again(copied: Path) -> None:
    whole = np.array(load_pack(copied, "train")[0].faces)
    raw = copied / "train.0.000.u8"
    cut_short(raw)
    np.testing.assert_array_equal(load_pack(copied, "train")[0].faces, whole)


# Commands.


def test_commands_lead_from_clips_to_an_expert(folder: Folder, tmp_path: Path) -> None:
    manifest = folder.table.with_name("manifest.csv")
    rows = [f"{n}.mp4,train,talking_head,{n},wild" for n in "ab"]
    manifest.write_text("\n".join(["file,split,kind,speaker,corpus", *rows]) + "\n")

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(expert.app, [str(each) for each in arguments])
        assert result.exception is None, result.output
        return result.output

    clips, pack, to = ("--clips", folder.table.parent), tmp_path / "pack", tmp_path / "expert.pt"
    assert "train.0: 1 clips" in run("pack-faces", *clips, "--out", pack, "--shards", 2)
    training = ("--run", tmp_path / "run", "--width", 2, "--steps", 1, "--batch", 1)
    run("train-expert", "--pack", pack, *training, "--device", "cpu", "--threads", 1)
    assert '"steps": 1' in run("export-expert", "--run", tmp_path / "run", "--to", to)
    report = tmp_path / "report.json"
    asked = ("--pack", pack, "--weights", to, "--split", "train", "--device", "cpu")
    run("evaluate-expert", *asked, "--report", report)
    figures = json.loads(report.read_text())
    # Of 39 windows, 12 at either end have no neighbours as far away.
    assert figures["clips"] == 1 and figures["windows"] == 39
    assert set(figures["by_length"]["1"]) == {"pair", "preferred", "way_25", "near_25"}


def test_unknown_losses_are_refused(folder: Folder, tmp_path: Path) -> None:
    arguments = ["train-expert", "--pack", folder.pack, "--run", tmp_path, "--loss", "mse"]
    result = CliRunner().invoke(expert.app, [str(each) for each in arguments])
    assert isinstance(result.exception, UsageError)
