"""Borrowed faces that do not fit are left, hands are kept, and a listener is not taken to speak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_dubbing_compose import FACE, SIDE, canvas
from test_dubbing_units import a_track

from lipsync_cli.dubbing.compositing.gate import Gate, GateOptions
from lipsync_cli.dubbing.compositing.mask import LIPS, face_mask
from lipsync_cli.dubbing.compositing.mismatch import mismatch
from lipsync_cli.dubbing.footage.covered import covered
from lipsync_cli.dubbing.footage.people import Person, choose_person

FPS = 25
MASK = face_mask(SIDE, FACE)
LEAVES, RETURNS = GateOptions().mismatch[::-1]


def listener_and_speaker(watched_s: float) -> tuple[Person, Person]:
    """As measured on a split screen: the large one listens for so long, the small one speaks."""
    listener = Person(0, (), watched_s, 0.22, speaks=0.73, speech_s=watched_s)
    return listener, Person(1, (), 9.0, 0.12, speaks=0.9999, speech_s=9.0)


@pytest.mark.parametrize("watched_s", [9.0, 20.0])
def test_a_listener_is_not_the_speaker(watched_s: float) -> None:
    crowd = listener_and_speaker(watched_s)
    assert crowd[0].speech_s >= crowd[1].speech_s and crowd[0].speaks is not None
    assert crowd[0].speaks > 0.5  # each of them alone would pass for a speaker
    assert choose_person(crowd, "speaker").index == 1
    assert choose_person(crowd, "largest").index == 0


def test_who_speaks_for_longer_is_the_speaker() -> None:
    guest = replace(listener_and_speaker(9.0)[1], index=0, speech_s=4.0, speaks=1.0)
    assert choose_person((guest, listener_and_speaker(9.0)[1]), "speaker").index == 1


@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_hand_before_the_first_or_last_pictures_is_one(at_the_end: bool) -> None:
    """The last picture may be held for long; landmarks under a hand are guesses."""
    track = a_track(np.arange(250) / FPS)
    thumbs, marks = track.thumbnails.copy(), track.landmarks.copy()
    hand = np.random.default_rng(5).integers(90, 200, 256).astype(np.uint8)
    last = slice(246, 250) if at_the_end else slice(0, 4)
    thumbs[last] = thumbs[120:124] = hand  # in the midst it is a smear
    marks[249 if at_the_end else 0, 2, 0] += 8
    flags = covered(replace(track, thumbnails=thumbs, landmarks=marks))
    assert flags[last].all() and flags.sum() < 10


def test_a_seam_or_a_second_nose_is_a_mismatch_and_another_mouth_is_not() -> None:
    old = canvas().planes[0]
    mouth = old - 0.3 * face_mask(SIDE, FACE, LIPS)
    outside = old - 0.3 * (MASK == 0)
    stripe = old.copy()
    stripe[:, 44:56] -= 0.3  # a finger across the cheek, in and out of the mask
    assert mismatch(old, old, MASK) == 0
    assert mismatch(old, mouth, MASK) < RETURNS
    assert mismatch(old, outside, MASK) < RETURNS  # it is not shown
    assert mismatch(old, stripe, MASK) > LEAVES
    assert mismatch(old, stripe, np.zeros_like(MASK)) == 0


def test_a_face_that_does_not_fit_is_left_until_it_does() -> None:
    gate, between = Gate(), (LEAVES + RETURNS) / 2
    assert gate.weight(0.0, FACE, mismatch=between) == 1  # not yet
    left = [gate.weight(i / FPS, FACE, mismatch=LEAVES + 0.1) for i in range(1, 7)]
    assert left == sorted(left, reverse=True) and left[-1] < 0.05
    assert gate.last is not None and gate.last.reason == "unlike"
    # One that wavers about the limit neither flickers nor shows through.
    assert max(gate.weight(i / FPS, FACE, mismatch=between) for i in range(7, 30)) < 0.05
    assert gate.last.reason == "unlike"
    assert gate.weight(2.0, FACE, mismatch=RETURNS - 0.1) > 0.9
    gate.weight(2.5, FACE, mismatch=1.0)
    gate.reset()  # another shot knows nothing of it
    assert gate.weight(3.0, FACE, mismatch=between) == 1
