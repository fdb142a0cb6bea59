"""Which encoder writes the pictures again, close to their source in kind and quality."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.codec import Codec, find_best_pix_fmt_of_list
from av.codec.codec import UnknownCodecError
from av.video.stream import VideoStream

from lipsync_cli.errors import OutputError, UsageError
from lipsync_cli.media.pictures import frame_rate

# MPEG-4 counts no finer.
_MOST_TICKS = 65535
_SILENT_X265 = {"log-level": "none"}


@dataclass(frozen=True)
class EncoderOptions:
    """How pictures are encoded.

    Attributes:
        codec: format ("h264", "hevc", "vp9", ...) or encoder ("libx264"); None for that of
            the source where it can be encoded, else H.264.
        crf: quality on the encoder's own scale, smaller is better; None for near the source.
        preset: the encoder's name for speed against size.
        lossless: decoded pictures are those that were encoded, bit for bit.
        threads: None for what the encoder thinks best.
        max_height: upright rows at most; larger pictures are scaled down. None for any.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    lossless: bool = False
    threads: int | None = None
    max_height: int | None = None


@dataclass(frozen=True)
class _Traits:
    """What is particular about an encoder.

    Attributes:
        quality: default on its own scale; None where the format fixes it.
        scale: "crf" as an option or "q" as a quantiser.
        lossless: options that make it lossless; None where nothing does.
        even: sizes have to be whole chroma samples.
        preset: its option that takes a preset.
        rates: the only frame rates that it takes.
    """

    quality: float | None = None
    scale: str = "crf"
    lossless: Mapping[str, str] | None = None
    even: bool = False
    preset: str | None = "preset"
    options: Mapping[str, str] = field(default_factory=dict)
    rates: tuple[Fraction, ...] = ()


_NTSC = Fraction(1000, 1001)
_MPEG_RATES = (
    *(base * _NTSC for base in (24, 30, 60)),
    *(Fraction(base) for base in (24, 25, 30, 50, 60)),
)
_VP9 = {"row-mt": "1", "deadline": "good", "cpu-used": "2"}
_ENCODERS: Mapping[str, _Traits] = {
    # As good at 15 as the usual preset at 16, in four fifths of its time.
    "libx264": _Traits(15, lossless={"qp": "0"}, even=True, options={"preset": "faster"}),
    # Its sample adaptive offset takes more of the lips' detail than it saves bytes.
    "libx265": _Traits(
        17,
        lossless={"x265-params": "lossless=1"},
        even=True,
        options={"x265-params": "no-sao=1"},
    ),
    "libvpx-vp9": _Traits(18, lossless={"lossless": "1"}, preset="cpu-used", options=_VP9),
    "libvpx": _Traits(8, preset="cpu-used", options={"b": "40M", "cpu-used": "2"}),
    "libsvtav1": _Traits(18, options={"preset": "6"}),
    "mpeg4": _Traits(2, "q", preset=None),
    "mpeg2video": _Traits(2, "q", preset=None, rates=_MPEG_RATES),
    "mpeg1video": _Traits(2, "q", preset=None, rates=_MPEG_RATES),
    "mjpeg": _Traits(2, "q", preset=None),
    "prores_ks": _Traits(preset=None, options={"vendor": "apl0"}),
    "dnxhd": _Traits(preset=None),
    "ffv1": _Traits(lossless={}, preset=None, options={"level": "3", "slicecrc": "1"}),
    "ffvhuff": _Traits(lossless={}, preset=None),
    "huffyuv": _Traits(lossless={}, preset=None),
    "utvideo": _Traits(lossless={}, preset=None),
    "qtrle": _Traits(lossless={}, preset=None),
}
_OF_FORMAT: Mapping[str, str] = {
    "h264": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "prores": "prores_ks",
    # The AV1 encoder writes to the terminal; it is used where somebody asks for it.
    "av1": "libx264",
}
_ASKED_FOR: Mapping[str, str] = {**_OF_FORMAT, "av1": "libsvtav1"}
_FALLBACKS = ("libx264", "libx265", "libvpx-vp9", "ffv1", "mpeg4", "mpeg2video")
# What these muxers take, which cannot be asked; and what others take but nobody plays.
_HELD: Mapping[str, frozenset[str]] = {
    "mpegts": frozenset(("libx264", "libx265", "mpeg2video", "mpeg1video", "mpeg4")),
    "mpeg": frozenset(("mpeg1video", "mpeg2video")),
    "vob": frozenset(("mpeg1video", "mpeg2video")),
}
_NOT_PLAYED: Mapping[str, frozenset[str]] = {"mp4": frozenset(("ffv1",))}
# Others list formats with alpha, but lose it here or in their containers.
_KEEP_ALPHA = ("ffv1", "ffvhuff", "prores_ks", "qtrle", "utvideo")
_PRORES = {"apco": 0, "apcs": 1, "apcn": 2, "apch": 3, "ap4h": 4, "ap4x": 5}
_DNXHR = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}


@dataclass(frozen=True)
class EncoderPlan:
    """An encoder and how it is set up.

    Attributes:
        name: FFmpeg's name of the encoder.
        pix_fmt: pixel format that it is given.
        options: its private options.
        quantiser: constant quantiser scale of encoders that know no other quality.
        rate: nominal frame rate; the true times are the container's.
        threads: 0 for as many as there are cores.
    """

    name: str
    pix_fmt: str
    options: Mapping[str, str]
    quantiser: float | None
    rate: Fraction
    threads: int

    @property
    def layout(self) -> av.VideoFormat:
        """The pixel format, described."""
        return av.VideoFormat(self.pix_fmt)


def plan_encoder(
    stream: VideoStream,
    picture: av.VideoFrame,
    options: EncoderOptions,
    muxers: Sequence[str],
    target: Path,
    *,
    like_source: bool = True,
) -> EncoderPlan:
    """Choose the encoder for pictures like `picture`, which is one of `stream`.

    Args:
        muxers: muxers of the output, the best first.
        target: the file that is written, for messages.
        like_source: prefer the format of the source.

    Raises:
        UsageError: an option does not fit the encoder, or there is no such encoder.
        OutputError: no encoder fits the pictures and the container.
    """
    held = _held_by(muxers)
    wanted = [_asked_for(options.codec)] if options.codec else _candidates(stream, like_source)
    if options.lossless:
        wanted = [name for name in wanted if _ENCODERS[name].lossless is not None]
    fitting = [n for n in wanted if n in held and _takes_size(n, picture) and _is_built_in(n)]
    if not fitting:
        raise _none_fits(options, picture, target)
    exact = (n for n in fitting if picture.format.name in formats_of(n))
    near = (n for n in fitting if plain_format(picture.format.name) in formats_of(n))
    name = next(exact, None) or next(near, fitting[0])
    return _plan(name, stream, picture, options)


def formats_of(encoder: str) -> list[str]:
    """Pixel formats that an encoder takes."""
    layouts = Codec(encoder, "w").video_formats or ()
    return [each.name for each in layouts if encoder in _KEEP_ALPHA or not has_alpha(each)]


def has_alpha(layout: av.VideoFormat) -> bool:
    """Whether pixels of this format can be transparent."""
    return not layout.has_palette and any(c.is_alpha for c in layout.components)


def plain_format(name: str) -> str:
    """The format of the same layout that does not tell the range of its samples."""
    return name.replace("yuvj", "yuv")


def _plan(
    name: str, stream: VideoStream, picture: av.VideoFrame, options: EncoderOptions
) -> EncoderPlan:
    traits, pix_fmt = _ENCODERS[name], _pixel_format(name, picture.format.name)
    private = dict(traits.options) | _profile(name, stream, pix_fmt)
    quality = traits.quality if options.crf is None else options.crf
    if options.crf is not None and (traits.quality is None or options.lossless):
        raise UsageError(f"{name} takes no quality here", hint="leave --crf out")
    if options.preset is not None:
        private |= _preset(name, traits, options.preset)
    if options.lossless:
        private |= traits.lossless or {}
        quality = None
    if quality is not None and traits.scale == "crf":
        private["crf"] = f"{quality:g}"
    if name == "libx265":
        private["x265-params"] = _x265_params(private, options.threads)
    return EncoderPlan(
        name,
        pix_fmt,
        private,
        quality if traits.scale == "q" else None,
        _nominal(frame_rate(stream), traits),
        options.threads or 0,
    )


def _candidates(stream: VideoStream, like_source: bool) -> list[str]:
    codec = stream.codec_context.codec.canonical_name
    own = _OF_FORMAT.get(codec, codec) if like_source else _FALLBACKS[0]
    return list(dict.fromkeys(n for n in (own, *_FALLBACKS) if n in _ENCODERS))


def _asked_for(codec: str) -> str:
    name = _ASKED_FOR.get(codec, codec)
    if name not in _ENCODERS or not _is_built_in(name):
        known = sorted({*_ASKED_FOR, *_ENCODERS})
        raise UsageError(f"'{codec}' cannot be encoded here", hint=f"choose {', '.join(known)}")
    return name


def _is_built_in(name: str) -> bool:
    try:
        Codec(name, "w")
    except UnknownCodecError:
        return False
    return True


def _held_by(muxers: Sequence[str]) -> set[str]:
    """Names of the codecs that one of the muxers takes."""
    held: set[str] = set()
    for muxer in muxers:
        if muxer in _HELD:
            held |= _HELD[muxer]
            continue
        with io.BytesIO() as memory:
            known = av.open(memory, "w", format=muxer).supported_codecs
        held |= known - _NOT_PLAYED.get(muxer, frozenset())
    return held


def _takes_size(name: str, picture: av.VideoFrame) -> bool:
    layout = picture.format
    step_x, step_y = 8 // (layout.chroma_width(8) or 8), 8 // (layout.chroma_height(8) or 8)
    fits = picture.width % step_x == 0 and picture.height % step_y == 0
    return fits or not _ENCODERS[name].even


def _pixel_format(name: str, source: str) -> str:
    known = formats_of(name)
    if source in known or not known:
        return source
    if plain_format(source) in known:
        return plain_format(source)
    best, _ = find_best_pix_fmt_of_list(known, source)
    return known[0] if best is None else best.name


def _profile(name: str, stream: VideoStream, pix_fmt: str) -> dict[str, str]:
    if name == "prores_ks":
        default = 4 if "444" in pix_fmt else 3
        return {"profile": str(_PRORES.get(str(stream.codec_context.codec_tag), default))}
    return {"profile": _DNXHR[pix_fmt]} if name == "dnxhd" and pix_fmt in _DNXHR else {}


def _preset(name: str, traits: _Traits, preset: str) -> dict[str, str]:
    if traits.preset is None:
        raise UsageError(f"{name} knows no presets", hint="leave --preset out")
    return {traits.preset: preset}


def _x265_params(options: Mapping[str, str], threads: int | None) -> str:
    params = [options[key] for key in ("x265-params",) if key in options]
    params += [f"{key}={value}" for key, value in _SILENT_X265.items()]
    return ":".join(params + ([f"pools={threads}"] if threads else []))


def _nominal(rate: Fraction, traits: _Traits) -> Fraction:
    """The nearest rate that the encoder can write down; the container has the true times."""
    if traits.rates:
        return min(traits.rates, key=lambda each: abs(each - rate))
    return rate if rate.numerator <= _MOST_TICKS else rate.limit_denominator(1000)


def _none_fits(
    options: EncoderOptions, picture: av.VideoFrame, target: Path
) -> UsageError | OutputError:
    what = f"{picture.width}x{picture.height} {picture.format.name} pictures"
    if options.codec:
        kind = " losslessly" if options.lossless else ""
        return UsageError(
            f"{options.codec} cannot hold {what}{kind} in {target.suffix} files",
            hint="choose another codec or container, or leave the codec out",
        )
    kind = "lossless " if options.lossless else ""
    return OutputError(
        f"no {kind}encoder here fits {what} into this container",
        path=target,
        hint="write another container, such as .mkv",
    )
