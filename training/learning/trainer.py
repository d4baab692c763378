"""Trainer: one epoch of steps, and the state that makes a run resumable to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mask_gate.models.files.checkpoint import Checkpoint
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import build
from mask_gate.training.config import TrainConfig
from mask_gate.training.errors import Interrupted, TrainingError
from mask_gate.training.learning.batches import Batch, BatchSource
from mask_gate.training.learning.distributed import ALONE, ProcessGroup
from mask_gate.training.learning.losses import DetectionLoss, LossParts
from mask_gate.training.learning.schedule import Average, apply_freezes, lr_factor, make_optimizer

LOSS_NAMES = ("box", "objectness", "classes")
# PyTorch's 65536 is meant for means; gradients here are sums over a batch's faces at first.
FIRST_SCALE = 1024.0


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epoch under way, counted from 0.
        step: batches of that epoch already learnt from.
        updates: steps of the optimizer so far.
        sums: loss parts summed over the epoch's batches, in the order of `LOSS_NAMES`.
        history: one row a finished epoch.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * len(LOSS_NAMES))
    history: list[dict[str, float]] = field(default_factory=list)


def layer_type(
    precision: str, device: torch.device, capabilities: Mapping[str, Any]
) -> torch.dtype:
    """The type that a network's layers are computed in (`TrainConfig.precision`).

    Args:
        precision: as configured.
        device: to train on.
        capabilities: of the processor, as `torch.cpu.get_capabilities` tells them, and whether
            the card multiplies in bfloat16 as "cuda_bf16".
    """
    if precision == "auto":
        if device.type == "cuda":  # as fast as float16, and needs no scaled gradients
            return torch.bfloat16 if capabilities.get("cuda_bf16") else torch.float16
        has_bfloat16 = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _capabilities(device: torch.device) -> dict[str, Any]:
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return {**torch.cpu.get_capabilities(), "cuda_bf16": has_bf16}


class Trainer:
    """A run in motion: network, optimizer, average and progress.

    Args:
        network: with its start weights; moved to `device`.
        transferred: parameters with start weights from elsewhere.
        source: of batches.
        config: of the run.
        device: to train on.
        group: the processes that train together, each with its part of every batch.
    """

    def __init__(
        self,
        network: DetectionNetwork,
        transferred: frozenset[str],
        source: BatchSource,
        config: TrainConfig,
        device: torch.device,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.config = config
        self.group = group
        self.device = device
        self.source = source
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.transferred = transferred
        self.optimizer = make_optimizer(network, config.optim, transferred)
        self.average = Average(network, config.optim.ema_decay) if config.optim.ema_decay else None
        self.loss = DetectionLoss(
            network.scales, network.num_classes, config.loss, config.assign, device
        )
        self.layers = layer_type(config.precision, device, _capabilities(device))
        halves = self.layers is torch.float16  # whose small gradients would become zero
        self.scaler = torch.amp.GradScaler(device.type, FIRST_SCALE, enabled=halves)
        self.progress = Progress()
        self._base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self._counted = 0.0
        self.total_updates = sum(
            -(-source.steps(epoch) // config.accumulate) for epoch in range(config.epochs)
        )

    def train_epoch(
        self, on_step: Callable[[], None], stop: Callable[[], bool]
    ) -> dict[str, float]:
        """Learn from what is left of the epoch under way.

        Args:
            on_step: called after every batch; `progress` says how far it is.
            stop: asked after every step of the optimizer; all of a group must answer alike.

        Returns:
            Mean loss parts of the epoch.

        Raises:
            TrainingError: the loss is not finite.
            Interrupted: `stop` said so; `progress` stands at the next step.
        """
        progress = self.progress
        self.network.train()
        apply_freezes(self.network, self.config.freeze, progress.epoch)
        steps = self.source.steps(progress.epoch)
        for batch in self.source.epoch(progress.epoch, progress.step):
            parts = self._add_gradients(batch)
            progress.sums = [a + b for a, b in zip(progress.sums, parts, strict=True)]
            progress.step += 1
            on_step()
            last = progress.step == steps
            if progress.step % self.config.accumulate == 0 or last:
                self._update()
                if stop() and not last:
                    raise Interrupted
        means = [total / steps for total in progress.sums]
        return dict(zip(LOSS_NAMES, means, strict=True))

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Write the epoch into the history and step to the next."""
        done = self.progress
        done.history.append(row)
        done.epoch, done.step, done.sums = done.epoch + 1, 0, [0.0] * len(LOSS_NAMES)

    def _add_gradients(self, batch: Batch) -> list[float]:
        """Add this process's part of a batch to the gradients, as sums that nothing divides yet.

        The loss of a batch is an average over faces or images. Only once all of an update are
        known can it be divided rightly: then batches add up to one large batch, and processes to
        one process.

        Returns:
            Loss parts of the batch over all processes.
        """
        own = torch.zeros(len(LOSS_NAMES) + 1, dtype=torch.float64)
        if batch.names:
            parts = self._loss(batch)
            count = len(batch.truth if self.config.loss.average == "per_face" else batch.names)
            weight = max(1, count)  # a batch without faces is not divided
            self.scaler.scale(parts.total * weight).backward()  # type: ignore[no-untyped-call]
            values = torch.stack((parts.box, parts.objectness, parts.classes)).detach()
            own[:-1], own[-1] = values.cpu() * weight, count
        *sums, count_of_all = self.group.sum(own).tolist()
        self._counted += count_of_all
        whole = [part / max(1, count_of_all) for part in sums]
        if not all(map(math.isfinite, whole)):
            names = self.source.names(self.progress.epoch, self.progress.step)
            raise TrainingError(
                f"the loss is not finite at epoch {self.progress.epoch + 1}, step "
                f"{self.progress.step + 1} (box, objectness, classes: {whole}; learning rate "
                f"{self.optimizer.param_groups[0]['lr']:.2g}) on {', '.join(names)}; "
                "lower optim.lr, or look at these images with mask-gate-data check"
            )
        return whole

    def _loss(self, batch: Batch) -> LossParts:
        images = batch.images.to(self.device, non_blocking=True)
        images = images.to(memory_format=torch.channels_last).float().div_(255)
        truth = batch.truth.to(self.device)
        targets = batch.targets and [target.to(self.device) for target in batch.targets]
        with torch.autocast(
            self.device.type, self.layers, enabled=self.layers is not torch.float32
        ):
            raw_maps = self.network(images)
        return self.loss([raw.float() for raw in raw_maps], truth, targets, batch.counts)

    def _update(self) -> None:
        """One step of the optimizer by the mean of the gradients added up."""
        factor = lr_factor(self.progress.updates, self.total_updates, self.config.optim)
        for group, base in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            group["lr"] = base * factor
        self.group.sum_gradients(self.network)
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad /= max(1, self._counted)
        self._counted = 0.0
        if self.config.optim.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optim.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.updates += 1
        if self.average is not None:
            self.average.update(self.network)

    def evaluated_network(self) -> DetectionNetwork:
        """A copy with the weights that get evaluated and saved: the average where one is kept."""
        source = self.average.weights if self.average is not None else self.network.state_dict()
        copy = build(self.config.architecture, self.network.num_classes, self.network.scales)
        copy.load_state_dict(source)
        return copy.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]

    def checkpoint(self, resumable: bool, about: dict[str, dict[str, Any]]) -> Checkpoint:
        """What is known now as a checkpoint.

        Args:
            resumable: with everything to go on from.
            about: the checkpoint's `metrics` and `training`.
        """
        network = self.evaluated_network().cpu()
        progress = None
        if resumable:
            progress = {
                "raw_weights": {
                    k: v.cpu().contiguous() for k, v in self.network.state_dict().items()
                },
                "optimizer": self.optimizer.state_dict(),
                "average_steps": self.average.steps if self.average else 0,
                "scaler": self.scaler.state_dict(),
                "transferred": sorted(self.transferred),
                "epoch": self.progress.epoch,
                "step": self.progress.step,
                "updates": self.progress.updates,
                "sums": self.progress.sums,
                "history": self.progress.history,
            }
        return Checkpoint(
            self.config.architecture,
            {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
            network.scales,
            self.config.input_size,
            metrics=about["metrics"],
            training=about["training"],
            progress=progress,
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a `last.pth` of a run with this configuration."""
        saved = checkpoint.progress
        if saved is None:
            raise TrainingError("this checkpoint holds weights only; resume from last.pth")
        self.network.load_state_dict(saved["raw_weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.steps = saved["average_steps"]
            for name, tensor in checkpoint.weights.items():
                self.average.weights[name].copy_(tensor)
        self.progress = Progress(
            saved["epoch"], saved["step"], saved["updates"], saved["sums"], saved["history"]
        )
