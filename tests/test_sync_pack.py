"""The training cache survives its journey, and opens where only NumPy and OpenCV are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.errors import InputError
from lipsync_cli.training.sync import adpcm
from lipsync_cli.training.sync.cache import load_clips
from lipsync_cli.training.sync.pack import pack, unpack
from lipsync_cli.training.sync.train import TrainingPlan, train

FRAMES, RATE = 40, 16_000
OPEN = """
import sys
for name in ("av", "typer", "rich", "soundfile", "face_alignment"):
    sys.modules[name] = None
from pathlib import Path
from lipsync_cli.training.sync import train as sync_train
from lipsync_cli.training.sync.pack import unpack
print(unpack(Path(sys.argv[1]), Path(sys.argv[2]), "train"))
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two clips: a bar that moves by one row a picture, and a tone with a pause."""
    crops = np.zeros((2 * FRAMES, 80, 80), np.uint8)
    for i in range(2 * FRAMES):
        crops[i, (i % 60) : (i % 60) + 12] = 200
    t = np.arange(2 * 2 * RATE) / RATE
    sound = (8000 * np.sin(2 * np.pi * 440 * t) * (t % 1 < 0.6)).astype(np.int16)
    folder = tmp_path / "cache"
    folder.mkdir()
    crops.tofile(folder / "train.0.u8")
    sound.tofile(folder / "train.0.s16")
    records = [
        {"file": f"{n}.mp4", "speaker": n, "corpus": "wild", "first": i * FRAMES}
        | {"frames": FRAMES, "pts": [k / 25 for k in range(FRAMES)]}
        | {"sample0": i * 2 * RATE, "samples": 2 * RATE, "t0": 0.1}
        for i, n in enumerate("ab")
    ]
    (folder / "train.0.json").write_text(json.dumps(records))
    return folder


def test_a_packed_cache_comes_back(cache: Path, tmp_path: Path) -> None:
    packed = pack(cache, tmp_path / "packed", "train")
    size = sum(p.stat().st_size for p in packed if p.suffix != ".json")
    assert size < sum(p.stat().st_size for p in cache.iterdir()) / 8
    assert unpack(tmp_path / "packed", tmp_path / "again", "train") == 2
    for before, after in zip(
        load_clips(cache, "train"), load_clips(tmp_path / "again", "train"), strict=True
    ):
        assert (after.file, after.t0_s) == (before.file, before.t0_s)
        np.testing.assert_array_equal(after.pts_s, before.pts_s)
        # Every picture is nearer to its own than to its neighbour.
        away = np.abs(after.crops.astype(int) - before.crops).mean((1, 2))
        next_away = np.abs(after.crops[:-1].astype(int) - before.crops[1:]).mean((1, 2))
        assert away.max() < 4 < next_away.min()


def test_it_opens_without_the_media_libraries(cache: Path, tmp_path: Path) -> None:
    pack(cache, tmp_path / "packed", "train")
    run = [sys.executable, "-c", OPEN, str(tmp_path / "packed"), str(tmp_path / "again")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr


def test_coded_sound_stays_close_and_in_time() -> None:
    rng = np.random.default_rng(0)
    loud = np.repeat(rng.uniform(0, 9000, 40), 500)
    sound = (loud * np.sin(np.arange(20_000) * 0.2)).astype(np.int16)
    data = adpcm.encode(sound)
    assert data.nbytes < 0.27 * sound.nbytes
    again = adpcm.decode(data, len(sound)).astype(float)
    signal, noise = np.mean(sound.astype(float) ** 2), np.mean((again - sound) ** 2)
    assert 10 * np.log10(signal / noise) > 20


def test_what_is_missing_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shard"):
        pack(tmp_path, tmp_path / "packed", "train")
    pack(cache, tmp_path / "packed", "train")
    index = tmp_path / "packed" / "train.0.json"
    records = json.loads(index.read_text())
    records[1]["frames"] += 1
    index.write_text(json.dumps(records))
    with pytest.raises(InputError, match="80 pictures"):
        unpack(tmp_path / "packed", tmp_path / "again", "train")
    assert not (tmp_path / "again" / "train.0.json").exists()


def test_several_processes_may_draw(cache: Path, tmp_path: Path) -> None:
    clips = load_clips(cache, "train")
    plan = TrainingPlan(steps=2, long_frames=24, long_batch=1, short_share=0.0, crowd=2, workers=2)
    told: list[dict[str, float]] = []
    train(clips, tmp_path / "run", plan, on_step=lambda _, terms: told.append(terms))
    saved = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert (saved["crowd"], saved["workers"]) == (2, 2)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
