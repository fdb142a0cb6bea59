"""Naming the person to dub by a place in the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from test_dubbing_units import a_track

from lipsync_cli.dubbing.footage.face_path import find_still_face
from lipsync_cli.dubbing.footage.people import Person, check_face, choose_person
from lipsync_cli.dubbing.footage.place import parse_place
from lipsync_cli.dubbing.footage.scan import FaceTrack
from lipsync_cli.errors import UsageError
from lipsync_cli.faces.detect import create_detector

FPS = 25


def person(index: int, *tracks: FaceTrack) -> Person:
    return Person(index, tracks, sum(t.duration_s for t in tracks), 0.1, None, 0.0)


def walking() -> FaceTrack:
    """From x = 100 to x = 500 within four seconds, box 80 wide and 100 high."""
    track = a_track(np.arange(100) / FPS)
    shift = np.linspace(0, 400, 100, dtype=np.float32)[:, None]
    boxes = track.boxes + shift * np.array([1, 0, 1, 0], np.float32)
    return replace(track, boxes=boxes)


CROWD = (person(0, walking()), person(1, a_track(np.arange(25, 100) / FPS, track=1, x=400.0)))


@pytest.mark.parametrize(
    ("face", "index"),
    [
        ("60,50,80,100@0", 0),
        ("360,350,80,100", 1),
        # The first one walks through here, at another height, but never overlaps by much.
        ("360,340,80,100@2.0", 1),
        ("460,50,80,100@3.9", 0),
        # A loose frame round one of them.
        ("0,0,200,200@0.1", 0),
    ],
)
def test_the_face_at_a_place(face: str, index: int) -> None:
    assert choose_person(CROWD, face).index == index


@pytest.mark.parametrize(
    "face",
    [
        "60,50,80,100@3.9",  # who was there has gone
        "360,350,80,100@0.2",  # not there yet
        "900,900,50,50",
        "135,145,60,60@0",  # touches a corner
        "2",
    ],
)
def test_nobody_there_and_who_is_there_instead(face: str) -> None:
    with pytest.raises(UsageError, match="there is no face") as error:
        choose_person(CROWD, face)
    hint = error.value.hint or ""
    assert "face 0 at " in hint and "face 1 at 360,350,80,100@2.5" in hint
    assert "(seen from 1.0 to 4.0 s)" in hint


def test_what_is_listed_can_be_asked_for() -> None:
    with pytest.raises(UsageError) as error:
        choose_person(CROWD, "7")
    places = [part.split(" (")[0] for part in (error.value.hint or "").split(" at ")[1:]]
    assert [choose_person(CROWD, place).index for place in places] == [0, 1]


@pytest.mark.parametrize(
    "text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,0,4", "1,2,3,4@", "nan,1,2,2"]
)
def test_no_place(text: str) -> None:
    with pytest.raises(UsageError, match="no place"):
        check_face(text)


def test_words_that_name_faces() -> None:
    for good in ("speaker", "largest", "0", "12", "1,2,3,4", "1.5,2,3,4@0.5"):
        check_face(good)
    with pytest.raises(UsageError, match="names no face"):
        check_face("left")
    assert parse_place("10,20,30,40") == parse_place("10, 20, 30, 40")


def test_a_face_of_a_photograph(tmp_path: Path) -> None:
    """Two of them, the left one larger."""
    face = skimage.data.astronaut()[:256, 96:352]
    small = np.asarray(Image.fromarray(face).resize((160, 160)))
    both = np.full((256, 512, 3), 90, np.uint8)
    both[:, :256], both[40:200, 300:460] = face, small
    path = tmp_path / "two.png"
    Image.fromarray(both).save(path)
    detector = create_detector("own")
    x = {
        name: float(find_still_face(path, detector, name).at(0).landmarks[2, 0])
        for name in ("largest", "speaker", "0", "1", "340,60,60,80")
    }
    assert x["largest"] == x["speaker"] == x["0"] < 256
    assert x["1"] == x["340,60,60,80"] > 300
    for wrong in ("2", "460,210,40,40"):
        with pytest.raises(UsageError, match="there is no face") as error:
            find_still_face(path, detector, wrong)
        assert "from the left" in (error.value.hint or "")
