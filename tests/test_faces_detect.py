"""The own face detector on a photographic face, and what is said when it cannot work."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faces_media import FACE_BOX, astronaut, background, paste_face

from lipsync_cli.errors import DependencyError, UsageError, WeightsError
from lipsync_cli.faces import _cv2
from lipsync_cli.faces.detect import FaceDetection, FaceDetector, create_detector


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return create_detector()


def _overlap(face: FaceDetection, box: tuple[float, float, float, float]) -> float:
    low, high = np.maximum(face.box[:2], box[:2]), np.minimum(face.box[2:], box[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    return shared / (face.size**2 + (box[2] - box[0]) * (box[3] - box[1]) - shared)


@pytest.mark.parametrize("size_px", [28, 50, 90, 150])
def test_face_is_found_at_any_size(detector: FaceDetector, size_px: int) -> None:
    picture, box = paste_face(background((360, 640)), (300, 180), size_px)
    faces = detector.detect(picture)
    assert len(faces) == 1
    assert _overlap(faces[0], box) > 0.5


@pytest.mark.parametrize("gain", [0.25, 0.5, 1.3])
def test_dark_and_bright_faces_are_found(detector: FaceDetector, gain: float) -> None:
    picture = np.clip(astronaut() * gain, 0, 255).astype(np.uint8)
    faces = detector.detect(picture)
    assert faces and _overlap(faces[0], FACE_BOX) > 0.5


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_sideways_programme_is_understood(turns: int) -> None:
    """A phone video that lost its rotation tag: eyes and mouth still tell which way is up."""
    upright = create_detector().detect(astronaut())[0]
    sideways = np.rot90(astronaut(), turns).copy()
    detector = create_detector()
    for _ in range(3):
        faces = detector.detect(sideways)
    x, y = upright.landmarks.T
    expected = {1: (y, 512 - x), 2: (512 - x, 512 - y), 3: (512 - y, x)}[turns]
    np.testing.assert_allclose(faces[0].landmarks, np.stack(expected, axis=1), atol=0.1)
    middle = (faces[0].box[:2] + faces[0].box[2:]) / 2
    assert np.abs(middle - np.mean(expected, axis=1)).max() < 20


def test_upright_programme_is_never_turned() -> None:
    detector = create_detector()
    first, *rest = [detector.detect(astronaut())[0].landmarks for _ in range(90)]
    assert all(np.array_equal(first, other) for other in rest)


def test_landmarks_lie_where_they_should(detector: FaceDetector) -> None:
    face = detector.detect(astronaut())[0]
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_nothing_is_found_where_no_face_is(detector: FaceDetector) -> None:
    assert detector.detect(background((360, 640))) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (16, 16), (3, 500), (1080, 2)])
def test_odd_sizes_do_no_harm(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert detector.detect(np.full(shape, 90, np.uint8)) == []


def test_opencv_stays_quiet(detector: FaceDetector, capfd: pytest.CaptureFixture[str]) -> None:
    create_detector().detect(astronaut())
    assert capfd.readouterr() == ("", "")


def test_level_of_opencv_log_is_left_alone() -> None:
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    create_detector()
    assert logging.getLogLevel() == before


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="own, sfd, blazeface"):
        create_detector("nonsense")


@pytest.mark.parametrize("name", ["sfd", "blazeface", "retinaface", "yunet"])
def test_missing_files_are_named_and_not_downloaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        create_detector(name)
    assert str(tmp_path) in str(caught.value)
    assert "https://" in str(caught.value)
    assert not any(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("name", ["own", "yunet", "retinaface"])
def test_file_that_is_no_network_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        create_detector(name, path)


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("libGL.so.1: cannot open shared object file", "apt install libgl1"),
        ("No module named 'cv2'", "opencv-python-headless"),
    ],
)
def test_missing_library_has_a_remedy(
    message: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """opencv-python needs libGL, which servers lack: no ImportError may reach the user."""
    really_import = builtins.__import__

    def fail(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ImportError(message)
        return really_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "cv2")
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(DependencyError) as caught:
        _cv2.load_cv2()
    assert remedy in (caught.value.hint or "")


@pytest.mark.real
def test_teacher_and_own_agree_on_real_clips(detector: FaceDetector, shared: Path) -> None:
    teacher = create_detector("yunet", shared / "teachers" / "yunet_n_dynamic.onnx")
    from lipsync_cli.media.reader import read
    from lipsync_cli.media.video import VideoFrame

    agreed = total = 0
    for path in sorted((shared / "clips" / "val").glob("*.mp4"))[:6]:
        frames = (f for f in read(path) if isinstance(f, VideoFrame))
        luma = np.array(next(frames).luma)
        expected = max(teacher.detect(luma), key=lambda face: face.size, default=None)
        if expected is not None:
            x0, y0, x1, y1 = expected.box.tolist()
            total += 1
            agreed += any(_overlap(face, (x0, y0, x1, y1)) > 0.5 for face in detector.detect(luma))
    assert total >= 4
    assert agreed >= total - 1
