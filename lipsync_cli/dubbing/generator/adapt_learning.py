"""Learn one person's mouth by drawing their own pictures again, and stop when it is best.

The pictures are drawn to their own sound, each after another look at the same person, and
compared with the true ones. What is frozen: the sound encoder, and the normalisation, which
is folded away. Held-out stretches decide twice: some when to stop, others whether the result
is better than what there was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lipsync_cli.device import halve_on_oom
from lipsync_cli.dubbing.generator.adapt_frames import Flags
from lipsync_cli.dubbing.generator.adapt_material import Material, Rows
from lipsync_cli.dubbing.generator.adapt_measure import Figures, Needed, draw_with, figures
from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.dubbing.generator.losses import (
    expert_cosine,
    gradient_l1,
    l1,
    mouth_l1,
    sync_loss,
)
from lipsync_cli.dubbing.generator.mel import REFERENCE_LEAD_S, windows_at
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.dubbing.generator.windows import window_rows, window_starts
from lipsync_cli.progress import Progress
from lipsync_cli.results import Adaptation
from lipsync_cli.sync.model_file import LoadedModel

_MOUTH, _GRADIENT, _SYNC = 3.0, 0.5, 0.03
_EXPERT_SIDE = 96
_WARM_UP = 0.05  # share of the steps
_CLIP = 3.0
_LOOKS = 6  # at the held-out stretches that decide when to stop
_PATIENCE = 2  # looks in a row without a gain


@dataclass(frozen=True)
class AdaptPlan:
    """How a generator is adapted.

    Attributes:
        steps: at most; the learning rate falls to 0 over them.
        batch: pictures in a step.
        shift_s: of what the generator hears, as when it dubs; see `windows_at`.
        min_probability: of the offset of the clip's own sound.
        needed: for the result to be kept.
    """

    steps: int = 600
    batch: int = 16
    rate: float = 5e-4
    seed: int = 1
    shift_s: float = -REFERENCE_LEAD_S
    min_probability: float = 0.9
    needed: Needed = field(default_factory=Needed)


class Learning:
    """A folded network on its device that learns from material.

    Args:
        expert: asked about windows of five pictures, which a step then consists of.
    """

    def __init__(
        self,
        network: Generator,
        material: Material,
        plan: AdaptPlan,
        expert: SyncExpert | None = None,
    ) -> None:
        self.network, self.material, self.plan = network, material, plan
        device = next(network.parameters()).device
        self.expert = None if expert is None else expert.to(device).eval().requires_grad_(False)
        network.audio_encoder.requires_grad_(False)
        self._learnt = [p for p in network.parameters() if p.requires_grad]
        self._optimiser = torch.optim.Adam(self._learnt, plan.rate)
        self._windows = self._rows_of_windows()
        self._fitting = max(1, plan.batch // self._windows.shape[1])

    def run(
        self, model: LoadedModel, progress: Progress | None = None
    ) -> tuple[Generator | None, Adaptation]:
        """Learn, and compare with what there was.

        Returns:
            The network, or None where it is not kept; and what came of it.

        Raises:
            LipsyncError: not even one picture fits into the device's memory.
        """
        material = self.material
        before = self._judged(model)
        steps = self._learn(progress)
        after = self._judged(model) if steps else before
        reason = self.plan.needed.reason_against(before, after)
        done = Adaptation(
            kept=reason is None,
            reason=reason,
            steps=steps,
            frames=len(material.parts.learn),
            held_out_s=round(material.judged_s, 2),
            mouth_error_before=round(before.error, 3),
            mouth_error_after=round(after.error, 3),
            response_before=round(before.response, 3),
            response_after=round(after.response, 3),
            sync_before=_rounded(before.height),
            sync_after=_rounded(after.height),
        )
        return self.network if reason is None else None, done

    def _judged(self, model: LoadedModel) -> Figures:
        """Figures of the stretches that judge; sync, which needs more to go by, of all."""
        parts = self.material.parts
        found = figures(self.network, self.material, parts.judge)
        every = figures(self.network, self.material, (*parts.stop, *parts.judge), model)
        return replace(found, height=every.height)

    def _learn(self, progress: Progress | None) -> int:
        """Make steps until they no longer help; return to the best, and tell its number."""
        stop, every = self.material.parts.stop, max(1, math.ceil(self.plan.steps / _LOOKS))
        first = figures(self.network, self.material, stop)
        best, best_error, best_state = 0, first.error, self._state()
        for step in range(1, self.plan.steps + 1):
            self._step(step)
            if progress is not None:
                progress(step / self.plan.steps)
            if step % every and step < self.plan.steps:
                continue
            found = figures(self.network, self.material, stop)
            if found.error < best_error and self.plan.needed.keeps_response(first, found):
                best, best_error, best_state = step, found.error, self._state()
            elif step - best >= _PATIENCE * every:
                break
        self.network.load_state_dict(best_state)
        return best

    def _step(self, step: int) -> None:
        """Make one step; nothing has changed if memory runs out."""
        rng = np.random.default_rng((self.plan.seed, step))
        rows = self._windows[rng.integers(len(self._windows), size=self._fitting)]  # [B, T]
        references = self.material.references(rows, rng)
        flipped = rng.random(len(rows)) < 0.5

        def advance(count: int) -> None:
            self._optimiser.zero_grad(set_to_none=True)
            self._loss(rows[:count], references[:count], flipped[:count]).backward()  # type: ignore[no-untyped-call]

        _, self._fitting = halve_on_oom(advance, len(rows))
        torch.nn.utils.clip_grad_norm_(self._learnt, _CLIP)
        for group in self._optimiser.param_groups:
            group["lr"] = self.plan.rate * _share(step, self.plan.steps)
        self._optimiser.step()

    def _loss(self, rows: Rows, references: Rows, flipped: Flags) -> Tensor:
        """Mean loss of windows [B, T]."""
        crops, turned = self.material.crops, flipped.repeat(rows.shape[1])
        target, look = crops[rows.ravel()], crops[references.ravel()]  # [B * T, S, S, 3]
        for faces in (target, look):
            faces[turned] = faces[turned, :, ::-1]
        drawn = draw_with(self.network, target, look, self.material.mel[rows.ravel()])
        real = torch.from_numpy(target).to(drawn.device).permute(0, 3, 1, 2) / 255
        loss = l1(drawn, real) + _MOUTH * mouth_l1(drawn, real)
        loss = loss + _GRADIENT * gradient_l1(drawn, real)
        if self.expert is None:
            return loss
        return (1 - _SYNC) * loss + _SYNC * self._sync_loss(self.expert, drawn, rows)

    def _sync_loss(self, expert: SyncExpert, drawn: Tensor, rows: Rows) -> Tensor:
        side = (_EXPERT_SIDE, _EXPERT_SIDE)
        seen = functional.interpolate(drawn, side, mode="bilinear", antialias=True)
        sound = self.material.sound
        pts_s = self.material.frames.pts_s[rows[:, 0]]
        mel = torch.from_numpy(windows_at(sound.mel, sound.t0_s, pts_s)).to(drawn.device)
        cosine = expert_cosine(expert, seen.reshape(*rows.shape, *seen.shape[1:]), mel)
        return sync_loss(cosine, torch.ones_like(cosine))

    def _rows_of_windows(self) -> Rows:
        """The windows to choose from: [n, 1], or [n, 5] for an expert."""
        learn = self.material.parts.learn
        if self.expert is not None:
            pts_s = self.material.frames.pts_s[learn]
            starts = window_starts(pts_s)
            if len(starts):
                return learn[window_rows(pts_s, starts)]
            self.expert = None
        return learn[:, None]

    def _state(self) -> Mapping[str, Tensor]:
        return copy.deepcopy(self.network.state_dict())


def _share(step: int, steps: int) -> float:
    """Share of the learning rate: a warm-up, then half a cosine down to 0."""
    warm = min(1.0, step / (1 + _WARM_UP * steps))
    return warm * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
