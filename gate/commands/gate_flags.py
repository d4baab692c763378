"""Flags of mask-gate: what they are called, and how they lie over the configuration file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from mask_gate.gate.config.schema import (
    FOR_LOCKING,
    GateConfig,
    load_config,
    load_config_for_locking,
    with_flags,
)
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.models.files.yaml_values import Key

_DESCRIPTION = """\
Watch an entrance: the door opens only while everyone in front of it wears their mask properly.
End with q in the window, or with Ctrl-C. Flags win over the configuration file."""

_EPILOG = """\
exit codes: 0 ok, 2 usage or configuration, 3 camera, 4 model or weights, 5 output, 130 Ctrl-C;
on SIGTERM the door is locked first, then 0"""


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate."""
    made = argparse.ArgumentParser(
        prog="mask-gate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_gate_flags(made.add_argument)
    _add_set_up_flags(made.add_argument)
    _add_run_flags(made.add_argument)
    return made


def _add_gate_flags(add: Callable[..., object]) -> None:
    """What is watched, by what, and what reacts to it."""
    add("--version", action="store_true", help="print version and bundled model, and end")
    add("--config", metavar="FILE", type=Path, help="a gate.yaml; see configs/gate.yaml")
    add("--gate", metavar="NAME", help="name of this door in events and logs")
    add(
        "--camera",
        "--source",
        metavar="SRC",
        help="an index, a device path, a URL, a video file, a folder of images, "
        "gst:PIPELINE, or demo",
    )
    add("--weights", metavar="FILE", help="the checkpoint (default: the bundled one)")
    add("--device", metavar="NAME", help="auto, cpu or cuda[:N]")
    add("--engine", metavar="NAME", help=f"{', '.join(EngineKind)}; auto takes the fastest known")
    add(
        "--on-allow",
        metavar="CMD",
        help="command that unlocks; gets `allow` as last argument; of the environment it sees "
        "PATH, LANG, HOME and MASK_GATE_*",
    )
    add("--on-deny", metavar="CMD", help="command that locks; gets `deny` as last argument")
    add("--console", action="store_true", help="serve the guard's console (docs/console.md)")


def _add_set_up_flags(add: Callable[..., object]) -> None:
    """What is asked for instead of a run."""
    add(
        "--set-password", metavar="FILE", type=Path, help="make a password for the console, and end"
    )
    add("--set-token", metavar="FILE", type=Path, help="make a token for /metrics, and end")
    add("--list-cameras", action="store_true", help="say which cameras there are, and end")
    add("--aim", action="store_true", help="show how well the camera is placed; no door is touched")
    add("--init", metavar="FILE", type=Path, help="write a commented gate.yaml, and end")
    add("--copy-samples", metavar="DIR", type=Path, help="copy sample files there, and end")
    add(
        "--install-service",
        metavar="ROOT",
        type=Path,
        nargs="?",
        const=Path("/"),
        help="write the systemd units, with --kiosk for a display of this machine, and end",
    )
    add("--lock", action="store_true", help="lock every relay, and end")
    add(
        "--end-lock-down",
        metavar="FILE",
        type=Path,
        help="end a guard's lockdown of a door, whose file the gate names in its log, and end",
    )
    add("--validate-config", action="store_true", help="say whether the configuration is right")


def _add_run_flags(add: Callable[..., object]) -> None:
    """How the gate is run, and what it tells."""
    add("--dry-run", action="store_true", help="say what relays would be told, tell them nothing")
    add("--mute", action="store_true", help="play no sounds")
    add("--headless", "--no-show", action="store_true", help="open no window")
    add("--kiosk", action="store_true", help="the window is the visitor's screen, and fills it")
    add("--language", metavar="CODE", help="of window and pages: en, ko; see assets/languages")
    add(
        "--record",
        metavar="FILE",
        type=Path,
        help="record what the window shows, for browsers (.webm, .mp4)",
    )
    add("--events", metavar="FILE", help="append one JSON line per event; - is standard output")
    add(
        "--audit",
        metavar="FILE",
        help="record of what happens, an .sqlite file; nothing opens unrecorded",
    )
    add("--seconds", metavar="N", type=_seconds, help="end after so many seconds")
    add("--once", action="store_true", help="end the demo after a round; it plays over and over")
    add(
        "--fast",
        "--replay",
        action="store_true",
        help="judge every frame of a clip by the clip's own time, as fast as the machine can; "
        "runs no command and plays no sound",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return seconds


def configured(options: argparse.Namespace) -> GateConfig:
    """The configuration file, or the defaults, with the flags laid over it.

    A lock by hand reads no more of the file than it needs, if the rest is wrong.

    Raises:
        ConfigError: the file or a flag is wrong.
    """
    load = load_config_for_locking if options.lock else load_config
    config = GateConfig() if options.config is None else load(options.config)
    flags: dict[str, tuple[Key, object]] = {
        "--gate": (("gate",), options.gate),
        "--camera": (("camera", "source"), options.camera),
        "--weights": (("detector", "weights"), options.weights),
        "--device": (("detector", "device"), options.device),
        "--engine": (("detector", "engine"), options.engine),
        "--on-allow": (("outputs", "on_allow"), options.on_allow),
        "--on-deny": (("outputs", "on_deny"), options.on_deny),
        "--events": (("outputs", "events"), options.events),
        "--audit": (("audit", "path"), options.audit),
        "--console": (("console", "enabled"), True if options.console else None),
        "--language": (("language",), options.language),
        "--mute": (("outputs", "sound"), "off" if options.mute else None),
    }
    given = {flag: (key, value) for flag, (key, value) in flags.items() if value is not None}
    if options.lock:
        given = {
            flag: (key, value) for flag, (key, value) in given.items() if key[0] in FOR_LOCKING
        }
    return with_flags(config, given) if given else config
