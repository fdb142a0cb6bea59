"""The detector's training code: targets, composed pictures, and the exported network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.faces.detect import Look, YuNetDetector
from lipsync_cli.training.detector.augment import Composer, box_sizes
from lipsync_cli.training.detector.data import PackedPictures
from lipsync_cli.training.detector.labels import Labels, iou_matrix
from lipsync_cli.training.detector.loss import assign, cell_grid, decode, detector_loss, stack
from lipsync_cli.training.detector.model import YuNet, export_onnx

SIDE = 128


def labels(*boxes: tuple[float, float, float, float], ignored: bool = False) -> Labels:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    landmarks = np.repeat(corners.reshape(-1, 2, 2).mean(axis=1, keepdims=True), 5, axis=1)
    return Labels(corners, landmarks, np.full(len(corners), ignored))


def test_overlap_of_boxes() -> None:
    first = np.array([[0, 0, 10, 10]], np.float32)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(iou_matrix(first, second), [[1, 1 / 3, 0]], rtol=1e-6)


def test_every_face_is_taught_by_cells_at_its_centre() -> None:
    faces = labels((10, 10, 20, 22), (60, 60, 120, 126))
    targets = assign(faces, SIDE)
    origins, strides = cell_grid(SIDE, SIDE)
    centres = origins + strides[:, None] / 2
    positive = targets.positive.numpy()
    owners = targets.boxes.numpy()[positive]
    for box in faces.boxes:
        mine = (owners == box).all(axis=1)
        assert mine.any()
        apart = np.abs(centres[positive][mine] - (box[:2] + box[2:]) / 2).max(axis=1)
        assert (apart <= 1.5 * strides[positive][mine]).all()
    # The small face is taught on the finest level only, the large one not on it.
    assert set(strides[positive][(owners == faces.boxes[0]).all(axis=1)]) == {8}
    assert set(strides[positive][(owners == faces.boxes[1]).all(axis=1)]) == {16}


def test_ignored_faces_are_neither_taught_nor_punished() -> None:
    targets = assign(labels((40, 40, 80, 80), ignored=True), SIDE)
    origins, strides = cell_grid(SIDE, SIDE)
    centres = origins + strides[:, None] / 2
    inside = ((centres > 40) & (centres < 80)).all(axis=1)
    assert not targets.positive.any()
    assert (targets.weight.numpy()[inside] == 0).all()
    assert targets.weight.numpy()[~inside].sum() > 0


def test_training_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    network = YuNet()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    pictures = torch.rand(2, 1, SIDE, SIDE) * 255
    targets = stack([assign(labels((30, 30, 80, 86)), SIDE), assign(labels(), SIDE)])
    losses = []
    for _ in range(12):
        loss = torch.stack(list(detector_loss(network(pictures), targets, SIDE).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_opencv_answers_what_the_network_means(tmp_path: Path) -> None:
    """Same boxes, landmarks and scores from FaceDetectorYN as from the decoder of the loss."""
    pytest.importorskip("onnx")
    torch.manual_seed(1)
    network = YuNet().eval()
    for parameter in network.heads.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    export_onnx(network, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size < 400_000
    picture = np.random.default_rng(0).integers(0, 256, (320, 320), np.uint8)
    found = YuNetDetector(tmp_path / "net.onnx", looks=(Look(320, 0.0),)).detect(picture)[0]
    with torch.no_grad():
        outputs = network(torch.from_numpy(picture)[None, None].float())
        cls, obj, boxes, landmarks = (part[0] for part in decode(outputs, 320))
    scores = (cls.sigmoid() * obj.sigmoid()).sqrt()
    best = int(scores.argmax())
    assert found.score == pytest.approx(float(scores[best]), abs=1e-3)
    np.testing.assert_allclose(found.box, boxes[best], atol=0.05)
    np.testing.assert_allclose(found.landmarks.ravel(), landmarks[best], atol=0.05)


@pytest.fixture
def bright_squares(tmp_path: Path) -> PackedPictures:
    """Two photographs whose "faces" are bright squares, and a dark negative."""
    picture = np.full((120, 120), 40, np.uint8)
    picture[40:80, 30:70] = 220
    dark = np.full((120, 120), 40, np.uint8)
    (tmp_path / "pixels.u8").write_bytes(picture.tobytes() * 2 + dark.tobytes())
    size = picture.size
    np.savez(
        tmp_path / "index.npz",
        pictures=[(n * size, 120, 120, kind, 0) for n, kind in enumerate((0, 1, 2))],
        first_face=[0, 1, 2, 2],
        boxes=np.tile(np.array([30, 40, 70, 80], np.float32), (2, 1)),
        landmarks=np.full((2, 5, 2), (50, 60), np.float32),
        ignored=np.zeros(2, bool),
    )
    return PackedPictures(tmp_path)


def test_labels_follow_the_composed_picture(bright_squares: PackedPictures) -> None:
    composer = Composer(bright_squares, np.random.default_rng(0))
    right = total = 0
    for _ in range(40):
        picture, faces = composer.compose(SIDE)
        clear = ~faces.ignored & (box_sizes(faces.boxes) > 12)
        for box in faces.boxes[clear]:
            centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
            rows, columns = np.mgrid[0:SIDE, 0:SIDE]
            reach = np.maximum(abs(columns - centre[0]) / half[0], abs(rows - centre[1]) / half[1])
            ring = (reach > 1.25) & (reach < 1.5)
            if ring.any():
                total += 1
                right += picture[reach < 0.6].mean() > picture[ring].mean()
    assert total > 25
    assert right / total > 0.75


def test_composing_is_reproducible(bright_squares: PackedPictures) -> None:
    first, second = (Composer(bright_squares, np.random.default_rng(3)) for _ in range(2))
    for _ in range(3):
        np.testing.assert_array_equal(first.compose(96)[0], second.compose(96)[0])
