"""The sounds the rendered face can make, and the sentences it says with them.

Formants are the rounded textbook values for an adult voice; lip targets are relative:
`opening` 1 is a wide "ah", below 0 the lips are pressed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

Manner = Literal["vowel", "glide", "nasal", "fricative", "stop", "pause"]


@dataclass(frozen=True)
class Phone:
    """One sound and the mouth that makes it.

    Attributes:
        duration_s: length in unstressed running speech.
        formants_hz: first three resonances of the vocal tract.
        opening: lip opening, 0 touching, 1 widest; < 0 pressed together.
        rounding: -1 spread, 0 neutral, 1 rounded.
        tuck: 1 where the lower lip touches the upper teeth.
        voicing: loudness of the vocal folds, 0..1.
        noise: loudness of the noise (hiss, or burst of a stop), 0..1.
        noise_hz: centre of that noise.
    """

    name: str
    manner: Manner
    duration_s: float
    formants_hz: tuple[float, float, float]
    opening: float
    rounding: float
    tuck: float
    voicing: float
    noise: float
    noise_hz: float


# name manner ms F1 F2 F3 opening rounding tuck voicing noise noise_hz
_TABLE = """
AA vowel     125 750 1220 2600  1.00  0.00 0 1.00 0    0
AE vowel     120 660 1720 2450  0.85 -0.35 0 1.00 0    0
AH vowel      80 620 1250 2550  0.62  0.00 0 0.90 0    0
AO vowel     120 580  950 2550  0.72  0.55 0 1.00 0    0
EH vowel      95 550 1720 2500  0.62 -0.30 0 0.95 0    0
ER vowel     100 470 1300 1650  0.34  0.40 0 0.85 0    0
IH vowel      70 400 1900 2570  0.40 -0.40 0 0.80 0    0
IY vowel     100 300 2150 2950  0.30 -0.85 0 0.80 0    0
UH vowel      75 440 1080 2350  0.36  0.60 0 0.80 0    0
UW vowel     105 310  900 2250  0.20  1.00 0 0.75 0    0
W  glide      70 290  680 2200  0.08  1.00 0 0.50 0    0
Y  glide      60 270 2150 3000  0.24 -0.60 0 0.50 0    0
R  glide      65 340 1100 1500  0.30  0.50 0 0.55 0    0
L  glide      65 340 1080 2850  0.40  0.00 0 0.55 0    0
M  nasal      80 270 1150 2150 -0.45  0.00 0 0.75 0    0
N  nasal      65 280 1500 2480  0.24 -0.10 0 0.65 0    0
NG nasal      75 280 1950 2800  0.32 -0.10 0 0.60 0    0
HH fricative  55 500 1500 2500  0.42  0.00 0 0.00 0.12 1700
F  fricative  90 340 1100 2080 -0.06  0.00 1 0.00 0.22 5200
V  fricative  65 300 1100 2080 -0.02  0.00 1 0.40 0.12 5000
TH fricative  85 320 1300 2540  0.24  0.00 0 0.00 0.14 5600
DH fricative  50 300 1350 2540  0.24  0.00 0 0.40 0.07 5200
S  fricative 100 320 1450 2530  0.16 -0.40 0 0.00 0.42 6500
Z  fricative  75 300 1450 2530  0.18 -0.35 0 0.35 0.26 6300
SH fricative 100 320 1840 2750  0.24  0.70 0 0.00 0.50 3200
P  stop       95 350 1000 2150 -0.50  0.00 0 0.00 0.45  900
B  stop       80 300  950 2150 -0.50  0.00 0 0.14 0.30  800
T  stop       80 350 1700 2650  0.22 -0.10 0 0.00 0.55 4200
D  stop       65 300 1700 2650  0.22 -0.10 0 0.12 0.35 3800
K  stop       90 320 1850 2700  0.32  0.00 0 0.00 0.50 2000
G  stop       75 300 1850 2700  0.32  0.00 0 0.12 0.34 1900
_  pause     100 500 1500 2500  0.05  0.00 0 0.00 0    0
"""

# A diphthong is its two ends, an affricate its stop and its hiss.
_COMPOUND = {
    "AY": ("AA", "IH"),
    "AW": ("AA", "UH"),
    "EY": ("EH", "IY"),
    "OW": ("AO", "UW"),
    "OY": ("AO", "IH"),
    "CH": ("T", "SH"),
    "JH": ("D", "SH"),
}

# A 1 marks the stressed vowels, a comma a short break inside the sentence.
_SENTENCES = """
HH AH L OW1 , M AY1 L IH1 P S AE N D M AY V OY1 S AA R AW1 T AH V S T EH1 P
P L IY1 Z M UW1 V DH AH S AW1 N D B AE1 K B AY AH F Y UW1 F R EY1 M Z
M EY1 B IY DH IY AO1 D IY OW K EY1 M B IH F AO1 R DH AH P IH1 K CH ER
P IY1 P AH L AO1 F AH N N OW1 T IH S IH T AE T W AH1 N S
W IY W AA1 CH T AH M UW1 N AH B AH1 V AH W AO1 R M B L UW1 B EY1
M AY1 M AH1 DH ER B AO1 T AH B IH1 G B R AW1 N AH M B R EH1 L AH
B AA1 B P UH1 T DH AH P EY1 P ER M AE1 P AH B AH1 V DH AH T EY1 B AH L
OW1 P AH N Y AO R M AW1 TH , W AY1 D , AE N D S EY1 AA1
DH AH W EH1 DH ER W IH L B IY F EH1 R F AO R M OW1 S T AH V M AH1 N D EY
F AY1 V V EH1 R IY F AY1 N V AY AH L IH1 N Z P L EY1 F AO R AE N AW1 ER
S T AA1 P DH AH F IH1 L M AE N D B R IH1 NG AH P DH AH V AA1 L Y UW M
AH S M AO1 L P R AA1 B L AH M M EY B IY S IH1 M P AH L T UW R IH P EH1 R
Y UW AE N D AY S AO1 DH AH HH OW1 L SH OW1 Y EH1 S T ER D EY
P OY1 N T DH AH K AE1 M R AH AE T M AY F EY1 S , AE N D P R EH1 S DH AH B AH1 T AH N
"""


def _parse(line: str) -> Phone:
    name, manner, ms, *numbers = line.split()
    f1, f2, f3, opening, rounding, tuck, voicing, noise, noise_hz = map(float, numbers)
    return Phone(
        name=name,
        manner=cast(Manner, manner),
        duration_s=float(ms) / 1000,
        formants_hz=(f1, f2, f3),
        opening=opening,
        rounding=rounding,
        tuck=tuck,
        voicing=voicing,
        noise=noise,
        noise_hz=noise_hz,
    )


def _expand(symbol: str) -> list[tuple[str, bool]]:
    """Split a written symbol into phone names, each with its stress."""
    name, stressed = symbol.rstrip("1"), symbol.endswith("1")
    return [(part, stressed) for part in _COMPOUND.get(name, (name,))]


PHONES = {phone.name: phone for phone in map(_parse, _TABLE.strip().splitlines())}
PAUSE = PHONES["_"]

SENTENCES: tuple[tuple[tuple[Phone, bool], ...], ...] = tuple(
    tuple(
        (PHONES["_" if name == "," else name], stressed)
        for symbol in line.split()
        for name, stressed in _expand(symbol)
    )
    for line in _SENTENCES.strip().splitlines()
)
