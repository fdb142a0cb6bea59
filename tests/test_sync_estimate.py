"""From lag matrices to an answer: evidence that adds up, sub-frame peaks, honest refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.classifier import Classifier, centre
from lipsync_cli.sync.estimate import estimate, peak_ms
from lipsync_cli.sync.evidence import LagEvidence, LagEvidenceBins, merged, offsets_ms

REACH = 60


def plain_logits(scores: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A classifier that only adds up: the last column is "no offset"."""
    return np.concatenate([scores, np.full((len(scores), 1), 6.0)], 1).astype(np.float32)


def evidence_at(
    offset_ms: float, seconds: int, height: float = 0.4, noise: float = 0.05
) -> LagEvidence:
    rng = np.random.default_rng(1)
    grid = offsets_ms(REACH)
    bins = LagEvidenceBins(REACH)
    for second in range(seconds):
        pts_s = second + np.arange(25) / 25
        peak = height * np.exp(-0.5 * ((grid - offset_ms) / 40) ** 2)
        matrix = (peak + rng.normal(0, noise, (25, len(grid)))).astype(np.float32)
        weight = np.ones(25, np.float32)
        bins.add(pts_s, matrix, weight, matrix, np.ones(matrix.shape, bool))
    return bins.result()


@pytest.mark.parametrize("offset_ms", [0.0, 123.0, -347.5])
def test_offset_is_found_between_the_grid_points(offset_ms: float) -> None:
    found = estimate(evidence_at(offset_ms, 10), plain_logits, Calibration())
    assert found is not None
    assert found.offset_ms == pytest.approx(offset_ms, abs=4)
    assert found.diagonal_ms == pytest.approx(offset_ms, abs=8)
    assert found.interval_ms[0] < offset_ms < found.interval_ms[1]
    assert found.probability > 0.9


def test_noise_is_none_of_the_offsets() -> None:
    found = estimate(evidence_at(0, 10, height=0.0), plain_logits, Calibration())
    assert found is not None
    assert found.posterior[-1] > 0.5


def test_nothing_comparable_is_no_estimate() -> None:
    assert estimate(LagEvidenceBins(REACH).result(), plain_logits, Calibration()) is None


def test_more_material_narrows_the_interval() -> None:
    calibration = Calibration(floor_ms=0.0)
    short, long = (
        estimate(evidence_at(50, s, noise=0.3), plain_logits, calibration) for s in (5, 60)
    )
    assert short is not None and long is not None
    widths = [e.interval_ms[1] - e.interval_ms[0] for e in (short, long)]
    assert widths[1] < widths[0]


def test_evidence_adds_up_whatever_the_pieces() -> None:
    whole = evidence_at(80, 6)
    parts = [whole.between(0, 2), whole.between(2, 6)]
    again = merged(parts[::-1])
    np.testing.assert_array_equal(again.start_s, whole.start_s)
    np.testing.assert_allclose(again.scores.sum(0), whole.scores.sum(0))
    np.testing.assert_allclose(again.diagonal(), whole.diagonal())


def test_parabola_finds_a_peak_between_cells() -> None:
    grid = offsets_ms(10)
    curve = -((grid - 13.7) ** 2)
    assert peak_ms(curve, grid) == pytest.approx(13.7, abs=1e-6)
    assert peak_ms(grid, grid) == 100.0


def test_unknown_candidates_speak_neither_for_nor_against() -> None:
    matrix = torch.rand(1, 8, 21)
    valid = torch.ones(1, 8, 21, dtype=torch.bool)
    valid[:, :, :6] = False
    centred = centre(matrix * valid, valid)
    assert (centred[..., :6] == 0).all()
    torch.testing.assert_close(centred[..., 6:].mean(2), torch.zeros(1, 8), atol=1e-6, rtol=0)


def test_untrained_classifier_is_the_diagonal_mean() -> None:
    torch.manual_seed(0)
    matrix, valid = torch.rand(1, 30, 41) * 0.2, torch.ones(1, 30, 41, dtype=torch.bool)
    matrix[..., 27] += 0.3
    classifier = Classifier().eval()
    evidence, weight = classifier(matrix, valid)
    assert evidence.sum(1).argmax() == 27
    assert classifier.logits(evidence.sum(1), weight.sum(1)).shape == (1, 42)


def test_little_material_is_read_by_its_own_rule() -> None:
    """What cannot be resampled says nothing by its agreement; old files know no other rule."""
    old = Calibration(bias=-1, slope=1.2, length=0.3, agreement=0.5)
    assert old.probability(0.9, 50.0, 0.9, 0.1, False) == old.probability(0.9, 50.0, 0.9)
    new = Calibration(agreement=0.5, few=0.4, few_agreement=-0.5)
    assert new.probability(0.9, 50.0, 0.99, 0.1, False) == pytest.approx(
        new.probability(0.9, 50.0, 0.6, 0.1, False)
    )
    assert new.probability(0.9, 50.0, 0.99) > new.probability(0.9, 50.0, 0.6)
    doubtful = Calibration(unrelated=-0.3)
    assert doubtful.probability(0.5, 50.0, 0.9, 0.4) < doubtful.probability(0.5, 50.0, 0.9, 0.01)


def test_only_some_seconds_can_be_resampled() -> None:
    few, many = (estimate(evidence_at(0, n), plain_logits, Calibration()) for n in (3, 4))
    assert few is not None and many is not None
    assert (few.resampled, many.resampled) == (False, True)


def test_probability_is_monotonous_and_bounded() -> None:
    calibration = Calibration(bias=-1, slope=1.2, length=0.3, agreement=0.5)
    values = [calibration.probability(m, 50.0, m) for m in (0.0, 0.3, 0.9, 0.999, 1.0)]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 1
