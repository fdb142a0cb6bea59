"""FID: the distance in closed form, the streaming statistics, and the network behind it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import linalg
from synth import make_clip
from torch import Tensor, nn

from lipsync_cli.errors import MissingStream, NotTrustworthy, UsageError, WeightsError
from lipsync_cli.scoring import fid as fid_module
from lipsync_cli.scoring.fid import Moments, fid, frechet_distance, measure_fid
from lipsync_cli.scoring.inception import FidInception, Mixed8, load_inception, network_input

ClipFactory = Callable[..., Path]
Array = npt.NDArray[np.float64]

LOSSLESS: dict[str, Any] = {"suffix": ".mkv", "vcodec": "ffv1", "acodec": None}
# Units of convolution and normalisation by block, as torchvision names them.
UNITS = {
    "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3": "",
    "Mixed_5b Mixed_5c Mixed_5d": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
    "Mixed_6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
    "Mixed_6b Mixed_6c Mixed_6d Mixed_6e": (
        "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool"
    ),
    "Mixed_7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
    "Mixed_7b Mixed_7c": "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool",
}
UNIT_TENSORS = ("conv.weight", *(f"bn.{name}" for name in ("weight", "bias")))
UNIT_BUFFERS = tuple(f"bn.{name}" for name in ("running_mean", "running_var"))


def _file_keys() -> set[str]:
    """Names of the tensors in pytorch-fid's file."""
    keys = {"fc.weight", "fc.bias"}
    for blocks, branches in UNITS.items():
        for block in blocks.split():
            units = [f"{block}.branch{name}" for name in branches.split()] or [block]
            keys |= {f"{unit}.{name}" for unit in units for name in UNIT_TENSORS + UNIT_BUFFERS}
    return keys


def _shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = FidInception().state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}


def _state() -> dict[str, Tensor]:
    """Weights that everybody can draw: He's scale, no normalisation."""
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in _shapes().items():
        size = int(np.prod(shape))
        values = np.full(size, float(name.endswith(("running_var", "bn.weight"))))
        if name.endswith("conv.weight"):
            values = (rng.random(size, dtype=np.float32) - 0.5) * np.sqrt(24 * shape[0] / size)
        state[name] = torch.from_numpy(values.reshape(shape).astype(np.float32))
    return state


class _MeanColour(nn.Module):
    """Stands in for the network: [B, 3, 299, 299] -> [B, 3]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture
def mean_colour(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fid_module, "load_inception", lambda path, device: _MeanColour())
    return Path("any.pth")


def _covariance(seed: int, size: int = 12, rank: int = 12) -> Array:
    root = np.random.default_rng(seed).normal(size=(rank, size))
    return root.T @ root


def test_distance_of_independent_gaussians_in_closed_form() -> None:
    deviations = np.array([[0.5, 2.0, 3.0], [1.5, 2.0, 0.0]])
    means = np.array([[0.0, 1.0, -1.0], [2.0, 1.0, 0.0]])
    expected = ((means[0] - means[1]) ** 2 + (deviations[0] - deviations[1]) ** 2).sum()
    first, second = (np.diag(row**2) for row in deviations)
    assert frechet_distance(means[0], first, means[1], second) == pytest.approx(expected)


def test_distance_agrees_with_the_root_of_the_product() -> None:
    first, second = _covariance(0), _covariance(1)
    mean = np.linspace(0, 1, 12)
    root = linalg.sqrtm(first @ second).real
    expected = (mean**2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(mean, first, np.zeros(12), second) == pytest.approx(expected)
    assert frechet_distance(mean, first, mean, first) == pytest.approx(0, abs=1e-6)


def test_distance_of_degenerate_gaussians_needs_no_repair() -> None:
    u, v = np.array([3.0, 0.0, 4.0]), np.array([1.0, 2.0, 2.0])
    first, second, zero = np.outer(u, u), np.outer(v, v), np.zeros(3)
    assert np.linalg.matrix_rank(first @ second) == 1
    # The root of u u' v v' has the trace |u.v|.
    expected = 25 + 9 - 2 * 11
    assert frechet_distance(zero, first, zero, second) == pytest.approx(expected, abs=1e-6)


def test_moments_of_batches_are_those_of_all() -> None:
    rng = np.random.default_rng(3)
    # Far from zero, where sums of squares would lose everything.
    vectors = rng.normal(size=(101, 7)) @ _covariance(2, 7, 7) + 1e6
    moments = Moments()
    for part in np.split(vectors, [1, 2, 40, 41, 100]):
        moments.add(part)
    assert moments.count == 101
    np.testing.assert_allclose(moments.mean, vectors.mean(axis=0), rtol=1e-12)
    expected = np.cov(vectors, rowvar=False)
    np.testing.assert_allclose(moments.covariance(), expected, rtol=1e-8, atol=1e-8)


def test_network_has_the_names_and_shapes_of_the_file() -> None:
    shapes = _shapes()
    assert set(shapes) == _file_keys()
    assert len(shapes) == 94 * 5 + 2
    # That of torchvision with 1000 classes and no auxiliary one, and 8 classes of 2049 more.
    learnt = [s for k, s in shapes.items() if not k.endswith(("running_mean", "running_var"))]
    assert sum(int(np.prod(shape)) for shape in learnt) == 23_834_568 + 8 * 2049
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5d.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch7x7_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1),
        "fc.weight": (1008, 2048),
    }.items():
        assert shapes[name] == shape


def test_features_are_those_of_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    # As old as pytorch-fid's: without the counters that came later.
    torch.save(_state(), path, _use_new_zipfile_serialization=False)
    network = load_inception(path)
    ramp = np.add.outer(3 * np.arange(60), 2 * np.arange(80))[..., None]
    picture = (ramp % np.array([211, 251, 173])).astype(np.uint8)
    with torch.inference_mode():
        features = network(network_input(picture)[None])
    assert features.shape == (1, 2048)
    # From torchvision 0.28 and pytorch-fid 0.3 with these weights; padding in its averages
    # would change them by up to .1, an average as its last pool by up to .9.
    expected = {1961: 2.375641, 1380: 0.871453, 82: 0.678369, 853: 0.556868, 1584: 0.44925}
    found = features[0, list(expected)].numpy()
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-4)


@pytest.mark.parametrize(("maximum", "corner"), [(False, 2.5), (True, 5.0)])
def test_pool_of_the_last_blocks(maximum: bool, corner: float) -> None:
    block = Mixed8(1, maximum=maximum).eval()
    nn.init.ones_(block.branch_pool.conv.weight)
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    with torch.inference_mode():
        pooled = block(picture)[0, -1]
    # Neighbours of the corner are 0, 1, 4 and 5; the normalisation adds .001 to variance 1.
    assert float(pooled[0, 0]) == pytest.approx(corner / np.sqrt(1.001))


def test_input_is_scaled_and_stretched() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[:, 1] = (255, 51, 0)
    image = network_input(picture)
    assert image.shape == (3, 299, 299)
    assert image[:, 0, 0].tolist() == [-1, -1, -1]
    np.testing.assert_allclose(image[:, 298, 298], [1, -0.6, -1], atol=1e-6)
    # Halfway between the centres of the two columns.
    np.testing.assert_allclose(image[:, 7, 149], [0, -0.8, -1], atol=1e-6)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_other_files_are_no_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shapes = _shapes()
    torch.save({name: torch.zeros(1) for name in shapes}, "shapes.pth")
    torch.save({name: torch.zeros(1) for name in list(shapes)[:-1]}, "names.pth")
    Path("code.pth").write_bytes(pickle.dumps(_Code()))
    Path("cut.pth").write_bytes(Path("names.pth").read_bytes()[:3000])
    for name in ("shapes.pth", "names.pth", "code.pth", "cut.pth", "none.pth"):
        with pytest.raises(WeightsError, match=name):
            load_inception(Path(name))
    assert not Path("executed").exists()


def test_distance_of_grey_videos_in_closed_form(tmp_path: Path, mean_colour: Path) -> None:
    def video(levels: list[int]) -> Path:
        shades = np.array(levels, np.uint8)
        return make_clip(
            tmp_path / f"{'-'.join(map(str, levels))}.mkv",
            vcodec="ffv1",
            acodec=None,
            duration_s=len(levels) / 25,
            paint=lambda number, size: np.full(size[::-1], shades[number]),
        )

    dark, bright = [40, 60, 90, 50], [140, 150, 200]
    told: list[float] = []
    result = measure_fid(
        [video(dark[:3]), video(dark[3:])], [video(bright)], mean_colour, progress=told.append
    )
    assert (result.frames, result.reference_frames) == (4, 3)
    # Luma 16 to 235 is -1 to 1; the channels are equal, so their covariances are singular.
    mean, spread = (
        [float(f((np.array(v) - 16) * 2 / 219 - 1)) for v in (dark, bright)]
        for f in (np.mean, lambda values: np.std(values, ddof=1))
    )
    expected = 3 * ((mean[0] - mean[1]) ** 2 + (spread[0] - spread[1]) ** 2)
    assert result.value == pytest.approx(expected, abs=0.02)
    assert len(result.warnings) == 2
    assert "4 generated pictures" in result.warnings[0]
    assert told == sorted(told)
    thinned = measure_fid([video(dark)], [video(bright)], mean_colour, every=2)
    assert (thinned.frames, thinned.reference_frames) == (2, 2)
    assert fid([video(dark)], [video(dark)], mean_colour) == pytest.approx(0, abs=1e-9)


def test_what_has_no_distance(clip: ClipFactory, mean_colour: Path) -> None:
    single = clip(**LOSSLESS, duration_s=0.04)
    several = clip(**LOSSLESS, duration_s=0.2)
    sound = clip(".mp4", vcodec=None, duration_s=0.5)
    with pytest.raises(NotTrustworthy, match="two pictures"):
        fid([single], [several], mean_colour)
    with pytest.raises(MissingStream):
        fid([several], [sound], mean_colour)
    for videos, every in (([], 1), ([several], 0)):
        with pytest.raises(UsageError):
            fid(videos, [several], mean_colour, every=every)


def test_features_that_are_no_numbers_are_refused(
    clip: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = nn.Sequential(_MeanColour(), nn.Linear(3, 2))
    nn.init.constant_(broken[1].weight, float("nan"))
    monkeypatch.setattr(fid_module, "load_inception", lambda path, device: broken)
    video = clip(**LOSSLESS, duration_s=0.2)
    with pytest.raises(WeightsError, match="no numbers"):
        fid([video], [video], Path("any.pth"))
