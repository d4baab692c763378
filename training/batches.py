"""Batches: samples in memory, varied, in a seeded order that any epoch can be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.labels import CLASS_NAMES
from training.assign import Truth
from training.augment import Augmenter, crop_face
from training.config import TrainConfig
from training.samples import Sample

# A class with fewer faces than this part of all is rare: its faces are pasted over common ones.
RARE_PART = 0.1
# A smaller face, enlarged, teaches blur.
MIN_PASTE_PX = 20.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What the network learns from in one step.

    Attributes:
        images: [B, 3, S, S] float32 RGB in 0..1.
        truth: its faces.
        names: of the B images, for messages.
    """

    images: Tensor
    truth: Truth
    names: tuple[str, ...]


def to_batch(samples: Sequence[Sample]) -> Batch:
    """Stack square samples of one size; faces stay with their image."""
    pixels = np.stack([sample.image[..., ::-1].transpose(2, 0, 1) for sample in samples])
    counts = [len(sample.labels) for sample in samples]
    truth = Truth(
        torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
        torch.from_numpy(np.concatenate([s.boxes_xyxy for s in samples]).astype(np.float32)),
        torch.from_numpy(np.concatenate([s.labels for s in samples]).astype(np.int64)),
    )
    images = torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(255)
    return Batch(images, truth, tuple(sample.name for sample in samples))


class BatchSource:
    """The training set as epochs of batches.

    Everything drawn by chance depends on (seed, epoch, batch) alone: a resumed run sees what an
    uninterrupted one would have seen.

    Args:
        samples: the training set, in memory.
        config: of the run.

    Raises:
        ValueError: no samples.
    """

    def __init__(self, samples: Sequence[Sample], config: TrainConfig) -> None:
        if not samples:
            raise ValueError("expected at least one training image, got none")
        self.samples = samples
        self.config = config
        self._repeats = repeat_factors([s.labels for s in samples], config.repeat_factor)
        rare = rare_faces(samples) if config.augment.paste else []
        self._augment = Augmenter(config.augment, rare)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the samples shown in `epoch`, shuffled; rare ones stand in it repeatedly."""
        rng = np.random.default_rng([self.config.seed, epoch])
        whole = np.floor(self._repeats)
        times = whole + (rng.random(len(whole)) < self._repeats - whole)
        order = np.repeat(np.arange(len(self.samples)), times.astype(np.int64))
        rng.shuffle(order)
        return order

    def steps(self, epoch: int) -> int:
        """How many batches `epoch` has; the last one may be smaller."""
        return -(-len(self.order(epoch)) // self.config.batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Batches of `epoch` from `first_step` on, each made while the one before is used."""
        order = self.order(epoch)
        size = self.config.batch_size
        parts = [order[at : at + size] for at in range(0, len(order), size)]
        with ThreadPoolExecutor(1, "batches") as pool:
            waiting = None
            for step in range(first_step, len(parts) + 1):
                ready = waiting
                if step < len(parts):
                    waiting = pool.submit(self._make, parts[step], epoch, step)
                if ready is not None:
                    yield ready.result()

    def _make(self, positions: NDArray[np.int64], epoch: int, step: int) -> Batch:
        rng = np.random.default_rng([self.config.seed, epoch, step])
        plain = epoch >= self.config.epochs - self.config.augment.plain_epochs
        size = self.config.input_size
        if self.config.multi_scale:
            low, high = self.config.multi_scale
            size = 32 * int(rng.integers(low // 32, high // 32 + 1))
        return to_batch(
            [
                self._augment(self.samples[at], lambda: self._any(rng), size, rng, plain)
                for at in positions
            ]
        )

    def _any(self, rng: np.random.Generator) -> Sample:
        return self.samples[int(rng.integers(len(self.samples)))]


def repeat_factors(labels: Sequence[NDArray[np.int64]], threshold: float) -> NDArray[np.float64]:
    """How often each image is shown: max(1, sqrt(threshold / share of images with its class)).

    An image counts as its rarest class (Gupta et al., 2019, section 4.2).

    Args:
        labels: of each image.
        threshold: classes on fewer images than this part are repeated; 0 repeats none.
    """
    has = np.array([np.bincount(one, minlength=len(CLASS_NAMES)) > 0 for one in labels])
    share = np.maximum(has.mean(0), 1e-9)
    per_class = np.maximum(1.0, np.sqrt(threshold / share))
    return np.asarray(np.where(has, per_class, 1.0).max(1))


def rare_faces(samples: Sequence[Sample]) -> list[Sample]:
    """Every face of a rare class that is large enough to be shown elsewhere, cut out."""
    counts = np.bincount(np.concatenate([s.labels for s in samples]), minlength=len(CLASS_NAMES))
    rare = np.flatnonzero(counts < RARE_PART * counts.sum())
    return [
        crop_face(sample, int(face))
        for sample in samples
        for face in np.flatnonzero(np.isin(sample.labels, rare))
        if (sample.boxes_xyxy[face, 2:] - sample.boxes_xyxy[face, :2]).min() >= MIN_PASTE_PX
    ]
