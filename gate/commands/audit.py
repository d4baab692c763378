"""The command `mask-gate-audit`: verify an audit, export it, show its end, report on days."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from mask_gate.gate.audit.chain import COLUMNS, START, Tip, Value, parse_tip, tip_of
from mask_gate.gate.audit.chain_check import ChainCheck
from mask_gate.gate.audit.config import default_audit_path
from mask_gate.gate.audit.reader import AuditReader, SealedRow
from mask_gate.gate.audit.tally import begin_of, last_days, tally_of
from mask_gate.gate.commands.audit_report import Report, as_csv, as_page, as_table
from mask_gate.gate.commands.run_command import run_command
from mask_gate.gate.display.texts import language_codes, load_texts
from mask_gate.gate.errors import ConfigError, OutputError

BROKEN = 1

_FOLLOW_S = 0.5

_JSON_COLUMNS = frozenset({"classes", "confidences"})
_FORMULA = ("=", "+", "-", "@")
_BRIEF = ("wall", "kind", "decision", "reason", "relay", "outcome", "detail")

_EPILOG = """\
exit codes: 0 ok, 1 the chain is broken, 2 usage or configuration, 5 a file cannot be read or
written, 130 Ctrl-C"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns its exit code."""
    return run_command("mask-gate-audit", partial(_main, argv), shown=_shown)


def _main(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks letters gets their codes
        sys.stdout.reconfigure(errors="backslashreplace")
    options.path = options.file or default_audit_path(options.gate)
    try:
        with AuditReader(options.path) as reader:
            code: int = options.run(reader, options)
        _STANDARD_OUTPUT.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return code


class _StandardOutput:
    """Standard output, whose faults are ours to tell; that of an open pipe passes as it is."""

    is_at_fault = False

    def write(self, text: str) -> int:
        """Write all of the text."""
        with self._told():
            return sys.stdout.write(text)

    def flush(self) -> None:
        """Hand on what was kept back."""
        with self._told():
            sys.stdout.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.is_at_fault = True
            raise OutputError(f"standard output: {error.strerror}") from None


_STANDARD_OUTPUT = _StandardOutput()


class _Writable(Protocol):
    def write(self, text: str, /) -> int:
        """Write all of the text."""


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-audit."""
    made = argparse.ArgumentParser(
        prog="mask-gate-audit",
        description="Verify, export or show the audit of a gate, or report on it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(run=run)
        where = sub.add_mutually_exclusive_group()
        where.add_argument("--file", type=Path, metavar="FILE", help="the audit's file")
        text = "use the file that the gate of this name has by default (default: entrance)"
        where.add_argument("--gate", default="entrance", metavar="NAME", help=text)
        return sub

    sub = command("verify", _verify, "Say whether the chain of rows is whole.")
    text = "a row that must be there, as noted elsewhere; finds rows cut off at the end"
    sub.add_argument("--anchor", type=_anchor, metavar="SEQ:HASH", help=text)
    text = "a row that an earlier verify named last; of the rows before it only some are walked"
    sub.add_argument("--after", type=_anchor, metavar="SEQ:HASH", help=text)

    sub = command(
        "export", _export, "Verify the rows asked for and all after them, then write them."
    )
    sub.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    text = "rows from this moment on, as 2026-05-01 or 2026-05-01T08:00 (UTC unless it says more)"
    sub.add_argument("--from", dest="since", type=_moment, metavar="TIME", help=text)
    text = "rows before this moment"
    sub.add_argument("--to", dest="until", type=_moment, metavar="TIME", help=text)
    text = "a file to make; - is standard output (default)"
    sub.add_argument("--out", default="-", metavar="FILE", help=text)

    sub = command("tail", _tail, "Show the newest rows.")
    text = "how many (default 20)"
    sub.add_argument("--rows", "-n", type=_count, default=20, metavar="N", help=text)
    text = "go on with those that come, until Ctrl-C"
    sub.add_argument("--follow", "-f", action="store_true", help=text)

    sub = command(
        "report", _report, "Verify the days asked for, then count openings, denials and people."
    )
    text = "so many days, the last of which is today (default 7)"
    sub.add_argument("--days", type=_count, default=7, metavar="N", help=text)
    text = "default: table, or what the name of --out ends in"
    sub.add_argument("--format", choices=tuple(_REPORTS), help=text)
    text = "of table and page (default: en)"
    sub.add_argument("--language", choices=language_codes(), default="en", help=text)
    text = "a file to make; - is standard output (default)"
    sub.add_argument("--out", default="-", metavar="FILE", help=text)
    return made


def _verify(reader: AuditReader, options: argparse.Namespace) -> int:
    if options.after is not None and options.anchor is not None:
        raise ConfigError("--after names the row that must be there; leave out --anchor")
    from_seq = 1 if options.after is None else options.after.seq
    check = reader.check(options.after or options.anchor, from_seq=from_seq)
    if check.broken:
        _complain(check)
        return BROKEN
    rows = f"rows {check.first_seq} to {check.tip.seq}" if check.rows else "no rows"
    _STANDARD_OUTPUT.write(f"whole: {rows}\n")
    if check.pruning is not None:
        _STANDARD_OUTPUT.write(f"deleted: {check.pruning}\n")
    for what in check.shortened:
        _STANDARD_OUTPUT.write(f"shortened: {what}\n")
    _STANDARD_OUTPUT.write(f"last row {check.tip}\n")
    return 0


def _export(reader: AuditReader, options: argparse.Namespace) -> int:
    check = reader.check(from_seq=reader.place_of(options.since or ""))
    if check.broken:
        _complain(check)
        return BROKEN
    write = _write_csv if options.format == "csv" else _write_jsonl
    with contextlib.closing(reader.rows(options.since or "", options.until or "")) as rows:
        if options.out == "-":
            write(_STANDARD_OUTPUT, rows)
        else:
            _write_file(Path(options.out), lambda file: write(file, rows))
    sys.stderr.write(f"whole: rows {check.first_seq} to {check.tip.seq}; last row {check.tip}\n")
    return 0


def _tail(reader: AuditReader, options: argparse.Namespace) -> int:
    rows = reader.newest(options.rows)
    for row in rows:
        _show(row)
    if options.follow:
        _follow(options.path, tip_of(rows[-1]) if rows else START)
    elif rows:
        _STANDARD_OUTPUT.write(_shown(f"last row {tip_of(rows[-1])}") + "\n")
    return 0


def _show(row: SealedRow) -> None:
    named = dict(zip(COLUMNS, row, strict=True))
    said = (f"{named[name]}" for name in _BRIEF if named[name] not in (None, ""))
    _STANDARD_OUTPUT.write(_shown(f"{named['seq']:>8}  {'  '.join(said)}") + "\n")


def _follow(path: Path, last: Tip) -> None:
    """Show rows as they come, for ever; a file that is set aside is followed by the next one."""
    _STANDARD_OUTPUT.flush()
    fault = ""
    while True:
        time.sleep(_FOLLOW_S)
        try:
            with AuditReader(path) as reader:
                newest = reader.newest(1)
                if not newest or int(newest[0][0] or 0) < last.seq:
                    last = START  # another file
                with contextlib.closing(reader.after(last.seq)) as rows:
                    for row in rows:
                        _show(row)
                        last = tip_of(row)
            fault = ""
        except BrokenPipeError:
            raise
        except OutputError as error:
            if _STANDARD_OUTPUT.is_at_fault:
                raise
            if str(error) != fault:  # it may be there again in a moment
                fault = str(error)
                sys.stderr.write(f"{_shown(fault)}; waits for it\n")
        _STANDARD_OUTPUT.flush()


def _report(reader: AuditReader, options: argparse.Namespace) -> int:
    ending = Path(options.out).suffix.removeprefix(".")
    write = _REPORTS[options.format or (ending if ending in _REPORTS else "table")]
    today = datetime.now().astimezone().date()
    try:
        days = list(last_days(options.days, today))
    except OverflowError:
        raise ConfigError(f"--days: expected no more than there were, got {options.days}") from None
    begin = begin_of(days[0])
    check = reader.check(from_seq=reader.place_of(begin))
    if check.broken:
        _complain(check)
        return BROKEN
    with contextlib.closing(reader.rows(begin)) as rows:
        tally = tally_of(rows)
    newest = reader.newest(1)
    gate = str(newest[0][COLUMNS.index("gate")]) if newest else options.gate
    tip = f"{options.path.name}, last row {check.tip}"
    text = write(Report(gate, days, tally, tip, load_texts(options.language)))
    if options.out == "-":
        _STANDARD_OUTPUT.write(text)
    else:
        _write_file(Path(options.out), lambda file: file.write(text))
    return 0


_REPORTS: Mapping[str, Callable[[Report], str]] = {
    "table": as_table,
    "csv": as_csv,
    "html": as_page,
}


def _complain(check: ChainCheck) -> None:
    for what in check.breaks:
        sys.stderr.write(f"broken: {_shown(what)}\n")
    if check.broken > len(check.breaks):
        sys.stderr.write(f"broken: {check.broken - len(check.breaks)} more\n")


def _write_jsonl(file: _Writable, rows: Iterable[SealedRow]) -> None:
    for row in rows:
        named = dict(zip(COLUMNS, map(_in_json, COLUMNS, row), strict=True))
        file.write(json.dumps(named, default=str) + "\n")


def _in_json(name: str, value: Value) -> object:
    """Lists and objects as such, not as text."""
    if name not in _JSON_COLUMNS or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _write_csv(file: _Writable, rows: Iterable[SealedRow]) -> None:
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_in_cell(value) for value in row])


def _in_cell(value: Value) -> Value:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, str):
        return f"'{_shown(value)}" if value.startswith(_FORMULA) else _shown(value)
    return value


def _write_file(path: Path, write: Callable[[TextIO], object]) -> None:
    """Write the whole file or none, readable for its owner and group."""
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as device:
                write(device)
            return
        with _made(part) as file:
            write(file)
        part.replace(path)
    except OutputError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"--out {path}: cannot be written ({why}); give another file") from None


@contextlib.contextmanager
def _made(part: Path) -> Iterator[TextIO]:
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _shown(text: str) -> str:
    """The text as a terminal may be given it: somebody may have written to the file by hand."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def _anchor(text: str) -> Tip:
    tip = parse_tip(text)
    if tip is None:
        raise argparse.ArgumentTypeError(
            f"expected SEQ:HASH as `verify` prints it, got {text!r:.100}"
        )
    return tip


def _moment(text: str) -> str:
    """A moment as rows name theirs."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected a date or time, as 2026-05-01T08:00, got {text!r:.40}"
        ) from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r:.40}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
