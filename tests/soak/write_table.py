"""Writes what soaks and attacks came to into docs/faults.md, or prints it.

    .venv/bin/python tests/soak/write_table.py FILE... [--print]

The rows of several files of one machine make one table.
"""

import json
import re
import sys
from pathlib import Path

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def place(name):
    """Where a table stands in the manual."""
    return re.compile(rf"(<!-- {name} -->\n).*(<!-- /{name} -->)", re.DOTALL)


def measured_on(found):
    counts = "at the full counts"
    if found["share"] != 1:
        counts = f"with `MASK_GATE_SOAK={found['share']:g}`, that part of the full counts,"
    return (
        f"Run {counts} on {found['cores']} cores ({found['machine']}) that were busy with other "
        "work too."
    )


def soak_table(rows):
    lines = ["| fault | times | wrong openings | worst | bar |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        lines.append(
            f"| {row['fault']} | {row['count']} | {row['wrong_openings']} | "
            f"{row['worst']:.2f} {row['unit']} | {row['bar']:g} {row['unit']} |"
        )
    return lines


def attack_table(rows):
    lines = [
        "| case | tries | openings | missing locks | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['case']} | {row['tries']} | {row['openings']} | {row['missing_locks']} | "
            f"{row['seconds']:.0f} |"
        )
    return lines


TABLES = {"soak": ("rows", soak_table), "attack": ("attacks", attack_table)}


def tables(paths):
    """Each table that there are rows for, by name, with what they were measured on."""
    files = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    for name, (key, table) in TABLES.items():
        with_rows = [found for found in files if found.get(key)]
        rows = [row for found in with_rows for row in found[key]]
        if rows:
            yield name, "\n".join([measured_on(with_rows[0]), "", *table(rows)]) + "\n"


def main(*words):
    paths = [word for word in words if word != "--print"]
    if "--print" in words:
        for _, table in tables(paths):
            print(table)
        return
    text = MANUAL.read_text(encoding="utf-8")
    for name, table in tables(paths):
        text = place(name).sub(lambda found, table=table: found[1] + table + found[2], text)
    MANUAL.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
