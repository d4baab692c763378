"""mask-gate-train: read configs and the data, train one run after another, and compare them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mask_gate.models.files.strict_yaml import read_config
from mask_gate.models.networks.device import choose_device
from mask_gate.training.config import TrainConfig, config_path
from mask_gate.training.data.class_names import MAP_HELP, ClassMap
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.preflight import LoadedSplits, checked_dataset
from mask_gate.training.errors import Interrupted, UsageError, require, run_command
from mask_gate.training.evaluation.plots import draw_comparison
from mask_gate.training.learning.allocator import keep_freed_memory
from mask_gate.training.learning.comparison import comparison_table
from mask_gate.training.learning.distributed import ProcessGroup, process_group
from mask_gate.training.learning.run import Run, RunContext
from mask_gate.training.learning.run_check import check_run, numbered
from mask_gate.training.learning.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run after another; returns the exit code."""
    arguments = parser().parse_args(argv)
    keep_freed_memory(os.environ)

    def body() -> None:
        with process_group() as group:
            _train(arguments, group)

    return run_command("mask-gate-train", body, "interrupted; go on with --resume")


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-train."""
    made = argparse.ArgumentParser(prog="mask-gate-train", description=__doc__)
    text = "files, or names of experiments that come with mask-gate, such as focal"
    made.add_argument("--config", nargs="+", required=True, metavar="YAML", help=text)
    made.add_argument("--data", default=os.environ.get("MASK_GATE_DATA", "data"), metavar="DIR")
    where = "folder with train.txt and valid.txt, where they are not in the data"
    made.add_argument("--lists", type=Path, metavar="DIR", help=where)
    where = "each run has a folder NAME in it, NAME-2 where that is taken"
    made.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help=where)
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    text = "processes that make batches: a number, or auto (all cores but two for a GPU)"
    made.add_argument("--workers", metavar="N", help=text)
    made.add_argument("--resume", action="store_true", help="go on from DIR/NAME/last.pth")
    made.add_argument("--epochs", type=int, metavar="N", help="in all, also those already done")
    made.add_argument(
        "--skip-bad", action="store_true", help="leave out bad images, up to 1 %% of them"
    )
    made.add_argument("--tensorboard", action="store_true", help="write its logs too")
    made.add_argument("--map", nargs="+", default=[], metavar="OWN=OURS", help=MAP_HELP)
    made.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="override the config"
    )
    return made


def _train(arguments: argparse.Namespace, group: ProcessGroup) -> None:
    overrides = [*arguments.set]
    if arguments.epochs is not None:
        overrides.append(f"epochs={arguments.epochs}")
    if arguments.workers is not None:
        overrides.append(f"workers={arguments.workers}")
    configs = [read_config(TrainConfig, config_path(c), overrides) for c in arguments.config]
    own_names = ClassMap.parse(arguments.map).meant
    configs = [c.model_copy(update={"map": {**c.map, **own_names}}) for c in configs]
    if arguments.tensorboard:
        require("tensorboard")

    def say(text: str) -> None:
        if group.is_first:
            print(text, flush=True)

    context = RunContext(
        arguments.out,
        choose_device(group.device_name(arguments.device)),
        group,
        arguments.resume,
        arguments.tensorboard,
        say,
    )
    classes = _class_map(configs)
    asked = [config.name for config in configs]
    if not arguments.resume:
        configs = _numbered(configs, arguments.out, say)
    for config in configs:
        folder = RunFolder(arguments.out / config.name)
        check_run(config, folder, resume=arguments.resume, writes=group.is_first)
    path = Path(arguments.data)
    wanted = {name for c in configs for name in (c.train_split, c.watch_split) if name}
    if group.is_first or arguments.skip_bad:  # only a full check knows what to leave out
        data = checked_dataset(path, say, arguments.skip_bad, arguments.lists, classes, wanted)
    else:
        data = DatasetFolder.open(path, arguments.lists, classes=classes)
    say(f"{len(data.images)} images, {data.split_note}")
    splits = LoadedSplits(data)
    compared = []
    for config in configs:
        run = Run(config, splits, context)
        try:
            run.train()
        except Interrupted:
            if config.name in asked:
                raise
            go_on = f"interrupted; go on with --resume --set name={config.name}"
            raise Interrupted(go_on) from None
        if group.is_first:
            say(run.summary().text(_data_flags(arguments)))
        if len(configs) > 1 and group.is_first:
            compared.append(run.compared())
    if compared:
        say(comparison_table(compared))
        draw_comparison(compared, context.out / "comparison.png")


def _numbered(
    configs: Sequence[TrainConfig], out: Path, say: Callable[[str], None]
) -> list[TrainConfig]:
    """The configs, each with a folder of its own below `out`; tells where that is another name."""
    named = numbered(configs, out)
    for before, config in zip(configs, named, strict=True):
        if config.name != before.name:
            say(
                f"{out / before.name} holds a run already: this one is {out / config.name}; "
                "--resume goes on with the first"
            )
    return named


def _data_flags(arguments: argparse.Namespace) -> list[str]:
    """What tells other commands the same data."""
    flags = ["--data", str(arguments.data)]
    if arguments.lists:
        flags += ["--lists", str(arguments.lists)]
    return [*flags, "--map", *arguments.map] if arguments.map else flags


def _class_map(configs: Sequence[TrainConfig]) -> ClassMap:
    """What the class names of the data set mean, which all configs must agree on.

    Raises:
        UsageError: they do not, or a name means nothing.
    """
    first = configs[0]
    for config in configs[1:]:
        if config.map != first.map:
            raise UsageError(f"map: {first.name} and {config.name} differ; train them one by one")
    return ClassMap(first.map)


if __name__ == "__main__":
    sys.exit(main())
