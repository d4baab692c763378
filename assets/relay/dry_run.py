#!/usr/bin/env python3
r"""A relay that only writes down what it would do: `dry_run.py [--log FILE] allow|deny`.

    mask-gate --camera demo --on-allow "python3 assets/relay/dry_run.py --log edges.txt" \
                            --on-deny  "python3 assets/relay/dry_run.py --log edges.txt"

Each line is `unlock` or `lock`, the reason, and the id of the gate's signal. Without --log they go
to standard error, of which the gate shows the last line only when a script fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pulse import Relay, run


class WrittenRelay:
    """Writes a line per edge."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def unlock(self) -> None:
        """Say so."""
        self._write("unlock")

    def lock(self) -> None:
        """Say so."""
        self._write("lock")

    def _write(self, edge: str) -> None:
        said = (os.environ.get(f"MASK_GATE_{name}", "-") for name in ("REASON", "ID"))
        line = " ".join((edge, *said))
        if self._path is None:
            print(line, file=sys.stderr)
        else:
            with self._path.open("a") as file:
                file.write(f"{line}\n")


def main() -> int:
    """Read the command line and do what the decision says."""
    parser = argparse.ArgumentParser(description="Relay that only writes down what it would do.")
    parser.add_argument("--log", type=Path, help="file to append to")
    parser.add_argument("decision", choices=("allow", "deny"))
    options = parser.parse_args()

    def open_relay() -> Relay:
        return WrittenRelay(options.log)

    return run(options.decision, open_relay)


if __name__ == "__main__":
    raise SystemExit(main())
