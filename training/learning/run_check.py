"""RunCheck: what can refuse a run is looked at before its data is read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from mask_gate.models.files.checkpoint import Checkpoint, load_checkpoint
from mask_gate.models.files.strict_yaml import ConfigFileError
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.training.config import TrainConfig
from mask_gate.training.learning.run_folder import RunFolder
from mask_gate.training.learning.schedule import apply_freezes
from mask_gate.training.learning.start_weights import start_network


def numbered(configs: Sequence[TrainConfig], out: Path) -> list[TrainConfig]:
    """The configs, each with a name under which `out` holds no run yet: NAME, NAME-2, NAME-3 ..."""
    names: list[str] = []
    for config in configs:
        tried = itertools.chain([config.name], (f"{config.name}-{n}" for n in itertools.count(2)))
        names.append(
            next(name for name in tried if name not in names and not RunFolder(out / name).is_used)
        )
    pairs = zip(configs, names, strict=True)
    return [config.model_copy(update={"name": name}) for config, name in pairs]


def check_run(config: TrainConfig, folder: RunFolder, *, resume: bool, writes: bool) -> None:
    """Find out what would keep a run from starting, besides its data.

    Args:
        config: of the run.
        folder: where it writes.
        resume: whether it goes on where an earlier run stopped.
        writes: whether this process writes the files.

    Raises:
        ConfigFileError: the earlier run is another one.
        UsageError: a freeze names nothing in the network.
        ModelFileError: the start weights, or those to go on from, cannot be used.
        OutputError: the folder cannot be written, or lacks room.
    """
    network, _, _ = start_network(config)
    apply_freezes(network, config.freeze, 0)
    if resume and folder.is_used:
        check_goes_on(load_checkpoint(folder.last), config, folder)
    if writes:
        folder.check_room(checkpoint_bytes(network, config))


def check_goes_on(checkpoint: Checkpoint, config: TrainConfig, folder: RunFolder) -> None:
    """See that `checkpoint` holds the same weights with the same memory of them.

    Raises:
        ConfigFileError: it does not.
    """
    was = checkpoint.training["config"]
    for key, before, now in (
        ("architecture", was["architecture"], config.architecture),
        ("start", was["start"], config.start),
        ("optim.name", was["optim"]["name"], config.optim.name),
    ):
        if before != now:
            raise ConfigFileError(
                f"{folder.last}: was trained with {key} {before}, the config now says {now}; "
                "change it back, or begin anew without --resume"
            )


def checkpoint_bytes(network: DetectionNetwork, config: TrainConfig) -> int:
    """About how large a resumable checkpoint is: weights, raw weights, optimizer's memory."""
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    return int(weights) * (3 if config.optim.name == "sgd" else 4)
