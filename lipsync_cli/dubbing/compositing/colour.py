"""Between the YUV samples of a picture and BGR, by the picture's own matrix and range."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace

from lipsync_cli.media.planes import matrix_of, sample_layout

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_FULL = 2
# Weights of red and blue in luma (ITU-T H.273, table 4); AVColorSpace numbers.
_BT601 = (0.299, 0.114)
_WEIGHTS = {
    int(Colorspace.ITU709): (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: _BT601,
    6: _BT601,
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class Colour:
    """How samples, as shares of the greatest code value, stand for colours.

    Attributes:
        red, blue: their weights in luma.
        black, white: luma of black and white.
        neutral, reach: chroma of grey, and the greatest distance from it.
    """

    red: float
    blue: float
    black: float
    white: float
    neutral: float
    reach: float

    def to_bgr(self, planes: Floats) -> Bytes:
        """Convert Y, U and V [3, h, w] to uint8 [h, w, 3]; what lies outside is clipped."""
        luma = (planes[0] - self.black) / (self.white - self.black)
        u, v = (planes[1:] - self.neutral) / self.reach  # [h, w] each, in [-1, 1]
        blue, red = luma + u * (1 - self.blue), luma + v * (1 - self.red)
        green = (luma - self.red * red - self.blue * blue) / (1 - self.red - self.blue)
        bgr = np.stack([blue, green, red], axis=-1)  # [h, w, 3]
        return np.asarray(np.rint(np.clip(bgr, 0, 1) * 255), np.uint8)

    def from_bgr(self, bgr: Bytes | Floats) -> Floats:
        """Convert [h, w, 3] in 0 to 255 to Y, U and V [3, h, w]."""
        blue, green, red = np.moveaxis(np.asarray(bgr, np.float32) / 255, -1, 0)
        luma = self.red * red + (1 - self.red - self.blue) * green + self.blue * blue
        u, v = (blue - luma) / (1 - self.blue), (red - luma) / (1 - self.red)
        planes = (
            self.black + (self.white - self.black) * luma,
            self.neutral + self.reach * u,
            self.neutral + self.reach * v,
        )
        return np.asarray(np.stack(planes), np.float32)


def colour_of(picture: av.VideoFrame) -> Colour:
    """Read matrix and range off a picture; those of its size where it does not say.

    Raises:
        ValueError: it is not made of Y, U and V samples.
    """
    layout = sample_layout(picture.format.name)
    if layout is None:
        raise ValueError(f"{picture.format.name} has no luma and chroma")
    red, blue = _WEIGHTS.get(matrix_of(picture), _BT601)
    full = picture.color_range == _FULL or picture.format.name.startswith("yuvj")
    greatest, step = 2.0**layout.depth - 1, 2.0 ** (layout.depth - 8)
    neutral = 128 * step / greatest
    if full:
        return Colour(red, blue, 0.0, 1.0, neutral, 0.5)
    # Limited range (ITU-T H.273, 8.3): luma 16 to 235, chroma 16 to 240 of 8 bits.
    black, white, reach = (each * step / greatest for each in (16, 235, 112))
    return Colour(red, blue, black, white, neutral, reach)
