"""Writes what a soak came to into docs/faults.md, or prints it.

.venv/bin/python tests/soak/write_table.py soak.json [--print]
"""

import json
import re
import sys
from pathlib import Path

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
PLACE = re.compile(r"(<!-- soak -->\n).*(<!-- /soak -->)", re.DOTALL)


def table(found):
    """The results as a table, with what they were measured on."""
    lines = [
        f"Run with `MASK_GATE_SOAK={found['share']:g}`, that part of the full counts, on "
        f"{found['cores']} cores ({found['machine']}) that were busy with other work too.",
        "",
        "| fault | times | wrong openings | worst | bar |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in found["rows"]:
        lines.append(
            f"| {row['fault']} | {row['count']} | {row['wrong_openings']} | "
            f"{row['worst']:.2f} {row['unit']} | {row['bar']:g} {row['unit']} |"
        )
    return "\n".join(lines) + "\n"


def main(path, *flags):
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    if "--print" in flags:
        print(table(found))
        return
    text = MANUAL.read_text(encoding="utf-8")
    MANUAL.write_text(PLACE.sub(lambda m: m[1] + table(found) + m[2], text), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
