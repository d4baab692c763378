"""Every command of README and manual: read by its parser, and run, or said why it is not.

What takes long runs with `make soak`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mask_gate.gate.commands import gate, predict
from mask_gate.gate.config.schema import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md", "CONTRIBUTING.md", "assets/weights/MODEL_CARD.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)  # fmt: skip

_MODULES = {
    "mask-gate": "gate.commands.gate_flags",
    "mask-gate-audit": "gate.commands.audit",
    "mask-gate-bench": "gate.commands.bench",
    "mask-gate-predict": "gate.commands.predict",
    "mask-gate-calibrate": "training.commands.calibrate",
    "mask-gate-data": "training.commands.data",
    "mask-gate-eval": "training.commands.evaluate",
    "mask-gate-export": "training.commands.export",
    "mask-gate-train": "training.commands.train",
}
_BEFORE = re.compile(
    r"^(time )?(sudo (-u mask-gate )?)?(docker compose exec mask-gate )?"
    r"((/opt/mask-gate/)?\.venv/bin/)?(?=mask-gate)"
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        page: that shows it.
        text: as it is there, on one line.
    """

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"

    @property
    def parts(self) -> list[str]:
        """What `&&` and `|` join."""
        return [part.strip() for part in re.split(r"&&|\|(?!\|)", self.text)]


def blocks_of(text: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands() -> list[Command]:
    """Those that stand in blocks of their own, indented by four as people copy them."""
    return [
        Command(page, line)
        for page in PAGES
        for line in _indented((ROOT / page).read_text(encoding="utf-8"))
        if not _is_no_command(line)
    ]


def spoken_of() -> list[Command]:
    """Those within a sentence that have flags: `mask-gate --aim`."""
    found = []
    for page in PAGES:
        text = _without_blocks((ROOT / page).read_text(encoding="utf-8"))
        found += [Command(page, span) for span in re.findall(r"`(mask-gate[a-z-]* [^`…]+)`", text)]
    return found


def read(command: str) -> None:
    """Have the program's own parser read a command of ours, or look its flags up in its script.

    Raises:
        SystemExit: a flag or a value is not known.
        AssertionError: a flag is not known to the script.
    """
    words = shlex.split(_BEFORE.sub("", command), comments=True)
    words = words[: words.index(">")] if ">" in words else words
    words = [word.strip("[]") for word in words]  # what may be left out
    if words[0] in _MODULES:
        import_module(f"mask_gate.{_MODULES[words[0]]}").parser().parse_args(words[1:])
    else:
        known = _strings(ROOT / words[1])
        for word in words[2:]:
            assert not word.startswith("--") or word in known, f"{words[1]} knows no {word}"


def unknown_words(command: str) -> list[str]:
    """Flags that no parser knows in a command that a sentence only speaks of."""
    name, *words = shlex.split(command)
    known = _flags_of(import_module(f"mask_gate.{_MODULES[name]}").parser())
    return [word for word in words if word.startswith("--") and word not in known]


def _flags_of(parser: argparse.ArgumentParser) -> set[str]:
    known = set()
    for action in parser._actions:
        known.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                known |= _flags_of(sub)
    return known


def is_ours(part: str) -> bool:
    """Whether it is a program or a script of this repository."""
    part = _BEFORE.sub("", part)
    return part.split()[0] in _MODULES or part.startswith("python tests/")


def _indented(text: str) -> Iterator[str]:
    for block in re.split(r"\n\n+", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        lines = block.strip("\n").split("\n")
        if all(line.startswith("    ") for line in lines):
            joined = "\n".join(line[4:] for line in lines).replace("\\\n", " ")
            yield from (re.sub(r" +", " ", line).strip() for line in joined.split("\n"))


def _without_blocks(text: str) -> str:
    return re.sub(r"^(```.*?^```|    .*?$)", "", text, flags=re.M | re.S)


def _is_no_command(line: str) -> bool:
    """A line of the table of folders, of a drawing, or of a configuration file."""
    return bool(re.match(r"[a-z_]+/ |.*──|#|\[|[A-Z]\w+=|user |topic ", line))


def _strings(script: Path) -> set[str]:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


ELSEWHERE = (
    (r"python3 -m venv .*mask-gate --camera demo", "tests/packaging installs it from a wheel"),
    (r"python3 -m venv .*pytest", "it is what runs this"),
    (r"(sudo (\.venv/bin/)?)?pipx? (install|wheel)", "tests/packaging builds and installs a wheel"),
    (r"sudo python3 -m venv", "tests/packaging makes one"),
    (r"sudo (apt-get|install|chgrp|systemd-sysusers|udevadm|editor|sed)", "changes the machine"),
    (r"(echo|sed) .*sudo tee", "changes the machine"),
    (r"(sudo )?systemctl", "needs systemd: tests/soak/test_systemd.py"),
    (
        r"sudo \.venv/bin/mask-gate --install-service",
        "changes the machine: tests/assets/test_systemd_unit.py",
    ),
    (r"cd |mkdir photos", "is nothing by itself"),
    (r"docker ", "needs Docker: tests/packaging/test_container.py"),
    (r"openssl req|curl", "tests/gate/console/test_tls.py"),
    (r"mask-gate --camera 0", "needs a camera; with others: tests/gate/whole"),
    (r"mask-gate --camera demo --once .*--config", "needs the reader's board: tests/gate/whole"),
    (r"sudo \.venv/bin/mask-gate --set-password", "asks a person: tests/gate/commands"),
    (r"sudo \S+mask-gate --end-lock-down", "tests/gate/whole/test_guard_orders.py"),
    (r"sudo -u mask-gate \S+mask-gate --config \S+ --validate-config", "tests/gate/whole"),
    (r"sudo -u mask-gate \S+mask-gate --config \S+ --headless --dry-run", "needs a camera"),
    (r"mask-gate-eval .*--passages", "takes an hour: tests/training/evaluation/test_passages.py"),
    (r".*mask-gate-audit tail --follow", "never ends by itself: tests/gate/commands"),
    (r"mask-gate-bench", "measures minutes: tests/gate/commands/test_bench.py"),
    (r"python tests/benchmarks/", "measures minutes to hours, on a quiet machine"),
    (r"python tests/cuda/", "needs a CUDA card; without one it says so"),
    (r"mask-gate-data (import|twins|draw-masks)", "needs data of others: tests/training/commands"),
    (
        r"mask-gate-data preview --data (wild|drawn)",
        "needs data of others: tests/training/commands",
    ),
)
"""Which commands are not run here, and why."""

HERE = (
    r"(time )?mask-gate-predict photos/ --out seen",
    r"sudo \S+mask-gate --(init|copy-samples|set-token) \S+",
)
"""Which are run by the tests below."""

SOAK = (
    r"mask-gate-(train|calibrate|export|eval) ",
    r"mask-gate-data split",
    r"sudo -u mask-gate \S+mask-gate-audit",
)
"""Which are run by the soak below."""

COMMANDS = commands()


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_it_has_its_place_in_one_of_the_tables(command: Command):
    patterns = [*(pattern for pattern, _ in ELSEWHERE), *HERE, *SOAK]
    assert any(re.match(pattern, command.text) for pattern in patterns), "add it to a table above"


def test_no_row_of_the_tables_is_left_over():
    for pattern in (*(pattern for pattern, _ in ELSEWHERE), *HERE, *SOAK):
        assert any(re.match(pattern, command.text) for command in COMMANDS), pattern


@pytest.mark.parametrize(
    "part",
    sorted({(c.page, part) for c in COMMANDS for part in c.parts if is_ours(part)}),
    ids=" ".join,
)
def test_its_parser_reads_it(part):
    read(part[1])


@pytest.mark.parametrize("command", sorted(set(spoken_of()), key=str), ids=str)
def test_the_flags_that_a_sentence_speaks_of_are_there(command: Command):
    assert unknown_words(command.text) == []


@pytest.mark.parametrize(
    "page", ["README.md", "docs/console.md", "docs/fleet.md", "docs/operate.md"]
)
def test_the_configurations_of_the_manual_hold_only_keys_that_there_are(repo_root, tmp_path, page):
    """Those of Prometheus are read by its own tool in tests/gate/whole/test_fleet.py."""
    for block in blocks_of((repo_root / page).read_text(encoding="utf-8"), "yaml"):
        if not {"scrape_configs", "groups"} & yaml.safe_load(block).keys():
            file = tmp_path / "gate.yaml"
            file.write_text(block, encoding="utf-8")
            load_config(file)


def test_photos_are_looked_at(tmp_path, monkeypatch, repo_root, capsys):
    """`mask-gate-predict photos/ --out seen`."""
    (tmp_path / "photos").mkdir()
    face = cv2.imread(str(next((repo_root / "assets/selftest").glob("*.jpg"))))
    for name, picture in (("a.jpg", face), ("b.png", np.zeros((90, 120, 3), np.uint8))):
        cv2.imwrite(str(tmp_path / "photos" / name), picture)
    monkeypatch.chdir(tmp_path)
    assert predict.main(["photos/", "--out", "seen"]) == 0
    lines = (tmp_path / "seen/detections.jsonl").read_text(encoding="utf-8").splitlines()
    assert [len(json.loads(line)["faces"]) > 0 for line in lines] == [True, False]


def test_a_gate_is_set_up(tmp_path, capsys):
    """`mask-gate --init FILE`, `--copy-samples DIR` and `--set-token FILE`."""
    config, token = tmp_path / "gate.yaml", tmp_path / "metrics"
    assert gate.main(["--init", str(config)]) == 0
    assert load_config(config)
    assert gate.main(["--copy-samples", str(tmp_path / "0.2.0")]) == 0
    assert gate.main(["--set-token", str(token)]) == 0
    assert (tmp_path / "0.2.0/systemd/mask-gate.service").is_file()
    assert (tmp_path / "0.2.0/relay/gpio.py").is_file()
    assert token.stat().st_mode & 0o007 == 0


def short(command: str) -> str:
    """The same with one epoch of few small pictures."""
    command = _BEFORE.sub("", command).replace("/var/lib/mask-gate/", "")
    command = command.replace("--epochs 20", "--epochs 1")
    command = re.sub(r"--limit \d+", "--limit 2", command)
    if not command.startswith("mask-gate-train"):
        return command
    few = "epochs=1 epoch_images=8 batch_size=4 input_size=128 multi_scale=null precision=float32"
    if "lite.yaml" not in command:
        few += " architecture=yolov3_tiny start=scratch"  # their weights are not in the repository
    return f"{command} {few}" if "--set" in command else f"{command} --set {few}"


def a_few_of(data: Path, folder: Path) -> None:
    """A data set of few images of another, split by lists, with the rarest class in many."""

    def common(stem: str) -> bool:
        text = (data / "annotations" / f"{stem}.xml").read_text(encoding="utf-8")
        return "mask_weared_incorrect" not in text

    for name, count in (("train", 60), ("valid", 12)):
        listed = (data / f"{name}.txt").read_text(encoding="utf-8").split()
        stems = [*sorted(listed, key=common)[: count // 2], *filter(common, listed)]
        stems = list(dict.fromkeys(stems))[:count]
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / f"{name}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")
        for stem in stems:
            for kind in ("images", "annotations"):
                (file,) = (data / kind).glob(f"{stem}.*")
                shutil.copy(file, folder / kind)


@pytest.mark.soak
def test_the_commands_that_take_long_work_one_after_the_other(tmp_path, real_data, repo_root):
    """In the order in which each finds what the others have left."""
    a_few_of(real_data, tmp_path / "DATA")
    (tmp_path / "configs").symlink_to(repo_root / "configs")
    (tmp_path / "assets").mkdir()
    shutil.copytree(repo_root / "assets/weights", tmp_path / "assets/weights")
    (tmp_path / "dev").mkdir()
    for name, target in (
        ("best.pth", "dev/lite/best.pth"),
        ("wild.pth", "dev/lite/best.pth"),
        ("FILE", "dev/lite/best.pth"),
        ("final.pth", "final/lite/best.pth"),
        ("dev/last.pth", "lite/last.pth"),
        ("WITHOUT_TWO", "DATA"),
    ):
        (tmp_path / name).symlink_to(target)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(command: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "MASK_GATE_DATA": "DATA"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    first = (
        "mask-gate-data split", "mask-gate-train", r"mask-gate-calibrate .*--out calibrated\.pth",
        "mask-gate-export",
    )  # fmt: skip
    texts = [c.text for c in COMMANDS if any(re.match(pattern, c.text) for pattern in SOAK)]
    texts = [t for t in texts if not any(re.match(pattern, t) for pattern, _ in ELSEWHERE)]
    order = [t for pattern in (*first, "") for t in texts if re.match(pattern, t)]
    run("mask-gate --camera demo --headless --mute --seconds 5 --audit entrance.sqlite")
    split, *others = dict.fromkeys(order)
    run(short(split))
    # Eight pictures teach nothing that could be calibrated: begin where the bundled weights end.
    train = "mask-gate-train --config configs/lite.yaml --data DATA"
    for where in ("--lists DEV --out dev", "--out final"):
        run(short(f"{train} {where} --set start=assets/weights/mask-gate-lite.pth"))
    for text in others:
        run(short(text))
    assert (tmp_path / "calibrated.onnx").is_file()
    assert (tmp_path / "report.html").is_file()
