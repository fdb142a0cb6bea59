"""A rendered talking face: the demo's actor and the tests' ground truth."""

from __future__ import annotations

from lipsync_cli.render.clip import RenderedClip, render_clip, render_frames
from lipsync_cli.render.portrait import Identity, identity_of
from lipsync_cli.render.speech import Articulation, rest, speak
from lipsync_cli.render.voice import SAMPLE_RATE, synthesise

__all__ = [
    "SAMPLE_RATE",
    "Articulation",
    "Identity",
    "RenderedClip",
    "identity_of",
    "render_clip",
    "render_frames",
    "rest",
    "speak",
    "synthesise",
]
