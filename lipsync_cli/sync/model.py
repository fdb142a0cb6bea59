"""The whole sync model: two encoders and the classifier, as one TorchScript module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lipsync_cli.sync.classifier import Classifier
from lipsync_cli.sync.encoders import AudioEncoder, VisualEncoder
from lipsync_cli.sync.lag_matrix import lag_matrix


class SyncModel(nn.Module):
    """Embeds pictures and sound and turns their lag matrix into evidence."""

    def __init__(self, visual_width: int = 24, audio_width: int = 24) -> None:
        super().__init__()
        self.visual = VisualEncoder(visual_width)
        self.audio = AudioEncoder(audio_width)
        self.classifier = Classifier()

    def forward(
        self, crops: Tensor, mel: Tensor, position: Tensor, known: Tensor, reach: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """uint8 [B, T, 64, 64], [B, M, 80] -> matrix, validity, evidence [B, T-10, K], weight."""
        visual, audio = self.embed_visual(crops), self.embed_audio(mel)
        matrix, valid = lag_matrix(visual, audio, position, known, reach)
        evidence, weight = self.classifier(matrix, valid)
        return matrix, valid, evidence, weight

    @torch.jit.export
    def embed_visual(self, crops: Tensor) -> Tensor:
        """uint8 [B, T, 64, 64] -> unit vectors [B, T - 10, 256]."""
        return self.visual(crops)  # type: ignore[no-any-return]

    @torch.jit.export
    def embed_audio(self, mel: Tensor) -> Tensor:
        """[B, M, 80] -> unit vectors [B, (M - 49) // 2, 256] at 50 Hz."""
        return self.audio(mel)  # type: ignore[no-any-return]

    @torch.jit.export
    def classify(
        self, visual: Tensor, audio: Tensor, position: Tensor, known: Tensor, reach: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Embeddings -> matrix, validity, evidence [B, T, K] and weight [B, T]."""
        matrix, valid = lag_matrix(visual, audio, position, known, reach)
        evidence, weight = self.classifier(matrix, valid)
        return matrix, valid, evidence, weight

    @torch.jit.export
    def logits(self, evidence: Tensor, weight: Tensor) -> Tensor:
        """Summed evidence [B, K] and weight [B] -> logits [B, K + 1]; the last is "none"."""
        return self.classifier.logits(evidence, weight)
