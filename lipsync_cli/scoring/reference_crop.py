"""Cut faces out as SyncNet's run_pipeline does, and bring pictures to the network's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.scoring.reference_track import Place
from lipsync_cli.scoring.syncnet import SIDE

# Grey level of what lies beyond the picture's edge.
_BEYOND = 110
# ffmpeg begins its JPEG pictures at about quality 90 and, to keep to 200 kbit/s, falls to this
# within two seconds (by PSNR, on faces of 224 px).
_JPEG_QUALITY = 20

Picture = NDArray[np.uint8]


def cut_face(frame: VideoFrame, place: Place, crop_scale: float) -> Picture:
    """Cut the square around a face out: BGR uint8 [n, n, 3], n <= 224.

    The square spans from the top of the box to 1 + 2 crop_scale of its half side below the
    centre, 2.8 half sides at 0.4; its corners are whole pixels, towards the upper left.
    Squares larger than the network's picture are shrunk at once.
    """
    # The reference enlarges the canvas first, which makes what int() cuts off positive.
    reach = int(place.half * (1 + 2 * crop_scale))
    x, y, across = place.x + reach, place.y + reach, place.half * (1 + crop_scale)
    left, right = int(x - across) - reach, int(x + across) - reach
    top = int(y - place.half) - reach
    bottom = int(y + place.half * (1 + 2 * crop_scale)) - reach
    square = _box(frame, left, top, max(right, left + 1), max(bottom, top + 1))
    return to_network(square) if max(square.shape) > SIDE else square


def to_network(picture: Picture) -> Picture:
    """Squash a picture of any shape to [224, 224, 3], bilinear."""
    if picture.shape[:2] == (SIDE, SIDE):
        return picture
    cv2: Any = load_cv2()
    return np.asarray(cv2.resize(picture, (SIDE, SIDE)), np.uint8)


def jpeg_generation(picture: Picture) -> Picture:
    """Lose what the reference's JPEG files between its two programs lose."""
    cv2: Any = load_cv2()
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _box(frame: VideoFrame, left: int, top: int, right: int, bottom: int) -> Picture:
    """Cut a box out that may reach beyond the picture."""
    cut = np.full((bottom - top, right - left, 3), _BEYOND, np.uint8)
    height, width = frame.luma.shape
    x0, x1 = (min(max(x, 0), width) for x in (left, right))
    y0, y1 = (min(max(y, 0), height) for y in (top, bottom))
    if x1 > x0 and y1 > y0:
        cut[y0 - top : y1 - top, x0 - left : x1 - left] = frame.bgr(x0, y0, x1, y1)
    return cut
