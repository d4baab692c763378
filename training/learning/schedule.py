"""Schedule: learning rates over steps, what is frozen when, and the average kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mask_gate.training.config import Freeze, OptimConfig
from mask_gate.training.errors import UsageError


def make_optimizer(
    model: nn.Module, config: OptimConfig, transferred: frozenset[str]
) -> torch.optim.Optimizer:
    """Groups by whether weights are transferred and whether they decay.

    Norms and biases do not decay: pulling them to zero fights the normalisation.

    Args:
        model: whose parameters move.
        config: which optimizer and rates.
        transferred: names of parameters that came from other weights.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name in transferred, parameter.ndim > 1), []).append(parameter)
    options = [
        {
            "params": parameters,
            "lr": config.lr * (config.trunk_lr_factor if moved else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (moved, decays), parameters in groups.items()
    ]
    # Fused: each weight is read and written once a step, where a loop of operations goes over all
    # of them ten times; a third of the time on a CPU.
    if config.name == "adam":
        return torch.optim.Adam(options, lr=config.lr, fused=True)
    if config.name == "adamw":
        return torch.optim.AdamW(options, lr=config.lr, fused=True)
    return torch.optim.SGD(options, lr=config.lr, momentum=0.9, nesterov=True, fused=True)


def lr_factor(step: int, total_steps: int, config: OptimConfig) -> float:
    """Learning rate of a step as a part of the configured one: linear warm-up, then the schedule.

    Args:
        step: counted from 0, in steps of the optimizer.
        total_steps: of the whole run.
        config: warm-up and schedule.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    left = max(1, total_steps - config.warmup_steps)
    done = min(1.0, (step - config.warmup_steps) / left)
    low = config.final_lr_fraction
    return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2


def apply_freezes(model: nn.Module, freezes: tuple[Freeze, ...], epoch: int) -> None:
    """Let exactly those parameters move that no freeze holds in `epoch`; frozen norms stand too.

    Call after `model.train()`, which wakes all norms.

    Raises:
        UsageError: a freeze names nothing in this network.
    """
    active = [
        name
        for freeze in freezes
        for name in freeze.modules
        if freeze.until_epoch is None or epoch < freeze.until_epoch
    ]
    names = [name for name, _ in model.named_parameters()]
    for freeze in freezes:
        for wanted in freeze.modules:
            if not any(_under(name, wanted) for name in names):
                tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
                raise UsageError(
                    f"freeze: {wanted!r} names nothing in the network, which has {tops}"
                )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(_under(name, wanted) for wanted in active))
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and any(_under(name, wanted) for wanted in active):
            module.eval()


def _under(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted + ".")


class Average:
    """Exponential moving average of a network's weights, which is what gets evaluated and saved.

    Args:
        model: whose weights are averaged; its buffers (norm statistics) too.
        decay: towards the end; early steps forget faster, so that the start is not remembered.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one step of the optimizer."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = [(self.weights[name], tensor) for name, tensor in model.state_dict().items()]
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        for kept, tensor in pairs:
            if not kept.is_floating_point():
                kept.copy_(tensor)
        average_all = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average_all([kept for kept, _ in moving], [tensor for _, tensor in moving], None)
