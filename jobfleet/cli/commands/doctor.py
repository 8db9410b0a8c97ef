"""`jobfleet doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import Output, count, plain
from jobfleet.cli.view import diagnosis_data, repair_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobfleet.operations.doctor.doctor import Repair
    from jobfleet.operations.doctor.findings import Diagnosis, Finding

WORDS = {"ok": ("ok", "green"), "note": ("note", "cyan"), "warning": ("WARN", "yellow"), "fault": ("FAULT", "red")}


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Repair what is safe to repair while the fleet runs, then check.")
@click.option("--dry-run", is_flag=True, help="With --fix: only show what would be repaired.")
@click.option("--strict", is_flag=True, help="Exit with code 1 also if there is a warning.")
@by_option
@click.pass_obj
def doctor(invocation: Invocation, *, fix: bool, dry_run: bool, strict: bool, by: str | None) -> int:
    """Check the server, the workers, and the consistency of the data.

    It checks a bounded part of each lane, and without --fix it only reads. Exit code 1 if there is a fault; warnings
    count with --strict, notes never.
    """
    if dry_run and not fix:
        raise click.UsageError("--dry-run belongs to --fix.")
    with invocation.fleet() as fleet:
        repairs = fleet.repair(dry_run=dry_run, by=by) if fix else []
        diagnosis = fleet.doctor()
    output = invocation.output
    wrong = [one.check for one in diagnosis.findings if one.level in ("warning", "fault")]
    text = "\n".join([*_repaired(output, repairs, is_dry=dry_run), _text(output, diagnosis)])
    data = {**diagnosis_data(diagnosis), "repairs": [repair_data(one) for one in repairs]} if fix else None
    output.show(data=data or diagnosis_data(diagnosis), ids=wrong, text=text)
    return fail.FAILED if not diagnosis.is_sound or (strict and wrong) else fail.DONE


def _repaired(output: Output, repairs: Sequence[Repair], *, is_dry: bool) -> Iterator[str]:
    for one in repairs:
        word = "would" if is_dry else "fixed" if one.is_done else "gone"
        yield output.styled(f"{word:<5}", "green") + f"  {one.check}: {plain(one.what)}"


def _text(output: Output, diagnosis: Diagnosis) -> str:
    wide = max(len(one.check) for one in diagnosis.findings)
    lines = [line for one in diagnosis.findings for line in _lines(output, one, wide)]
    levels = [str(one.level) for one in diagnosis.findings]
    parts = [(len(levels), "check"), (levels.count("fault"), "fault"), (levels.count("warning"), "warning")]
    return "\n".join([*lines, ", ".join(count(number, thing) for number, thing in parts)])


def _lines(output: Output, one: Finding, wide: int) -> list[str]:
    word, color = WORDS[one.level]
    indent = wide + 9
    seen = output.wrapped(plain(one.seen), indent=indent)
    lines = [f"{output.styled(f'{word:<5}', color)}  {one.check:<{wide}}  {seen}"]
    if one.remedy:
        remedy = output.wrapped(plain(one.remedy), indent=indent)
        lines.append(output.styled(f"{'':<{indent}}{remedy}", "dim"))
    return lines
