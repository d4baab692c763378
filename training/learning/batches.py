"""Batches: samples in memory, varied, in a seeded order that any epoch can be asked for.

A GPU learns faster than one processor can vary images, so batches and their targets can be made by
several processes ahead of time. They travel as bytes, a quarter of what floats would take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from signal import SIG_IGN, SIGINT, SIGTERM, signal
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.anchors import Scale
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.augment import Augmenter, crop_face
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import UsageError
from mask_gate.training.learning.assign import assign, map_shapes
from mask_gate.training.learning.targets import ScaleTargets, Truth

# A class with fewer faces than this part of all is rare: its faces are pasted over common ones.
RARE_PART = 0.1
# A smaller face, enlarged, teaches blur.
MIN_PASTE_PX = 20.0
# A GPU looks for the fastest kernels anew at each size: seven sizes took it half a minute.
FEW_SIZES = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """What the network learns from in one step.

    Attributes:
        images: [B, 3, S, S] uint8 RGB, the three values of a pixel side by side in memory.
        truth: its faces.
        names: of the B images, for messages.
        counts: how many faces each image has.
        targets: of each raw map, where they were made ahead.
    """

    images: Tensor
    truth: Truth
    names: tuple[str, ...]
    counts: tuple[int, ...]
    targets: tuple[ScaleTargets, ...] | None = None

    def pin_memory(self) -> Self:
        """The same in memory that a GPU can copy from by itself."""
        targets = self.targets and tuple(target.pin_memory() for target in self.targets)
        images, truth = self.images.pin_memory(), self.truth.pin_memory()
        return type(self)(images, truth, self.names, self.counts, targets)


_NO_FACES = Truth(
    torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
)


def to_batch(samples: Sequence[Sample]) -> Batch:
    """Stack square samples of one size; faces stay with their image."""
    if not samples:
        return Batch(torch.zeros(0, 3, 0, 0, dtype=torch.uint8), _NO_FACES, (), ())
    pixels = np.empty((len(samples), *samples[0].image.shape), np.uint8)
    for sample, place in zip(samples, pixels, strict=True):
        cv2.cvtColor(sample.image, cv2.COLOR_BGR2RGB, dst=place)
    counts = tuple(len(sample.labels) for sample in samples)
    truth = Truth(
        torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
        torch.from_numpy(np.concatenate([s.boxes_xyxy for s in samples]).astype(np.float32)),
        torch.from_numpy(np.concatenate([s.labels for s in samples]).astype(np.int64)),
        torch.from_numpy(np.concatenate([s.unknown_of_each for s in samples])),
    )
    names = tuple(sample.name for sample in samples)
    return Batch(torch.from_numpy(pixels).permute(0, 3, 1, 2), truth, names, counts)


class BatchSource:
    """The training set as epochs of batches.

    Everything drawn by chance depends on (seed, epoch, batch, place in it) alone: a resumed run
    sees what an uninterrupted one would have seen, and each of several processes its part of that.

    Args:
        samples: the training set, in memory.
        config: of the run; `batch_size` is that of all processes together.
        rank: which part of every batch is made here.
        parts: how many parts there are; each gets a share of every batch by position.
        times: how often each sample is shown in an epoch, on average; none: once.
        scales: of the network, for targets made ahead; none: the loss makes them.
        workers: processes that make batches; 0: a thread of this one.
        for_gpu: keep batches where a GPU can copy them from, and draw from few sizes.

    Raises:
        UsageError: no samples, or fewer images in a batch than parts.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        config: TrainConfig,
        rank: int = 0,
        parts: int = 1,
        times: NDArray[np.float64] | None = None,
        scales: Sequence[Scale] = (),
        workers: int = 0,
        for_gpu: bool = False,
    ) -> None:
        if not samples:
            raise UsageError("expected at least one training image, got none")
        if config.batch_size < parts:
            raise UsageError(
                f"batch_size: expected at least one image for each of {parts} processes, "
                f"got {config.batch_size}"
            )
        self._rank, self._parts = rank, parts
        self._scales, self._workers, self._for_gpu = tuple(scales), workers, for_gpu
        self.samples = samples
        self.config = config
        self._repeats = repeat_factors([s.labels for s in samples], config.repeat_factor)
        if times is not None:
            self._repeats = self._repeats * times
        rare = rare_faces(samples) if config.augment.paste else []
        self._augment = Augmenter(config.augment, rare)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the samples shown in `epoch`, shuffled; rare ones stand in it repeatedly."""
        rng = np.random.default_rng([self.config.seed, epoch])
        wanted = self.config.epoch_images
        order = self._shuffled(rng)
        while wanted and len(order) < wanted:
            order = np.concatenate((order, self._shuffled(rng)))
        return order[:wanted]

    def _shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Every sample once, or as often as its rarest class asks for."""
        whole = np.floor(self._repeats)
        times = whole + (rng.random(len(whole)) < self._repeats - whole)
        order = np.repeat(np.arange(len(self.samples)), times.astype(np.int64))
        rng.shuffle(order)
        return order

    def steps(self, epoch: int) -> int:
        """How many batches `epoch` has; the last one may be smaller."""
        return -(-len(self.order(epoch)) // self.config.batch_size)

    def names(self, epoch: int, step: int) -> list[str]:
        """The images of one batch, those of all parts."""
        at = step * self.config.batch_size
        positions = self.order(epoch)[at : at + self.config.batch_size]
        return [self.samples[position].name for position in positions]

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Batches of `epoch` from `first_step` on, made while those before are used.

        A last batch smaller than the number of parts is empty in some of them.
        """
        order = self.order(epoch)
        size = self.config.batch_size
        parts = [order[at : at + size] for at in range(0, len(order), size)]
        if self._workers:
            return iter(self._loader(_Steps(self, parts, epoch, first_step)))
        return self._by_thread(parts, epoch, first_step)

    def _loader(self, steps: _Steps) -> DataLoader[Batch]:
        return DataLoader(
            steps,
            batch_size=None,
            num_workers=self._workers,
            prefetch_factor=4,
            pin_memory=self._for_gpu,
            worker_init_fn=_leave_signals_to_the_parent,
            multiprocessing_context="fork",  # the samples in memory are shared, not copied
        )

    def _by_thread(
        self, parts: Sequence[NDArray[np.int64]], epoch: int, first_step: int
    ) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, "batches") as pool:
            waiting = None
            for step in range(first_step, len(parts) + 1):
                ready = waiting
                if step < len(parts):
                    waiting = pool.submit(self.make, parts[step], epoch, step)
                if ready is not None:
                    yield ready.result()

    def make(self, positions: NDArray[np.int64], epoch: int, step: int) -> Batch:
        """One batch, or this process's part of it; the same whenever it is asked for."""
        seeds = [self.config.seed, epoch, step]
        plain = epoch >= self.config.epochs - self.config.augment.plain_epochs
        size = self._size(np.random.default_rng(seeds))
        own = np.array_split(np.arange(len(positions)), self._parts)[self._rank]
        made = []
        for place in own.tolist():
            rng = np.random.default_rng([*seeds, place])
            sample = self.samples[positions[place]]
            made.append(self._augment(sample, partial(self._any, rng), size, rng, plain))
        batch = to_batch(made)
        if not (self._scales and made):
            return batch
        shapes = map_shapes(len(made), size, self._scales)
        targets = assign(shapes, self._scales, batch.truth, self.config.assign)
        return replace(batch, targets=tuple(targets))

    def _size(self, rng: np.random.Generator) -> int:
        if not self.config.multi_scale:
            return self.config.input_size
        low, high = (side // 32 for side in self.config.multi_scale)
        sizes = np.arange(low, high + 1)
        if self._for_gpu:
            sizes = np.unique(np.linspace(low, high, FEW_SIZES).round().astype(np.int64))
        return 32 * int(rng.choice(sizes))

    def _any(self, rng: np.random.Generator) -> Sample:
        return self.samples[int(rng.integers(len(self.samples)))]


class _Steps(Dataset[Batch]):
    """The batches of one epoch by number, as DataLoader's processes ask for them."""

    def __init__(
        self,
        source: BatchSource,
        parts: Sequence[NDArray[np.int64]],
        epoch: int,
        first_step: int,
    ) -> None:
        self._source, self._parts = source, parts
        self._epoch, self._first_step = epoch, first_step

    def __len__(self) -> int:
        return max(0, len(self._parts) - self._first_step)

    def __getitem__(self, index: int) -> Batch:
        step = self._first_step + index
        return self._source.make(self._parts[step], self._epoch, step)


def _leave_signals_to_the_parent(_worker: int) -> None:
    """Ctrl-C reaches all processes; the parent finishes its step and then ends the others."""
    for number in (SIGINT, SIGTERM):
        signal(number, SIG_IGN)
    cv2.setNumThreads(0)  # its threads did not come through the fork


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
