"""The limits of the stages: the same work as bare as it can be done."""

from __future__ import annotations

import shutil
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import torch

_BLOCK = 1 << 20


def read_bytes(path: Path) -> None:
    """Read the file and forget it."""
    with path.open("rb") as file:
        while file.read(_BLOCK):
            pass


def demux_only(path: Path) -> None:
    """Read all packets."""
    with av.open(str(path)) as container:
        for _ in container.demux():
            pass


def decode_only(path: Path, *, sound: bool = False) -> None:
    """Decode all pictures, with FFmpeg's own choice of threads, and the sound if asked for."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        streams: list[Any] = [container.streams.video[0]]
        if sound:
            streams.append(container.streams.audio[0])
        for packet in container.demux(streams):
            packet.decode()


def copy_packets(path: Path, target: Path) -> None:
    """Copy all packets into a new file, checking nothing."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        streams: dict[int, Any] = {
            stream.index: out.add_stream_from_template(stream, opaque=True)
            for stream in source.streams
        }
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)


def copy_by_ffmpeg(path: Path, target: Path) -> bool:
    """The same by FFmpeg's own tool; False where there is none."""
    tool = shutil.which("ffmpeg")
    if tool is None:
        return False
    command = [tool, "-v", "error", "-y", "-i", str(path), "-map", "0", "-c", "copy", str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return True


@lru_cache(maxsize=1)
def matmul_flops_per_s(side: int = 1024) -> float:
    """Operations a second in a large product of matrices, with the threads there are."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    best_s = float("inf")
    for _ in range(6):
        start_s = time.process_time()
        torch.mm(a, b)
        best_s = min(best_s, time.process_time() - start_s)
    return 2 * side**3 / best_s
