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
SCREEN = 24
"""Lines of the report, so that it fits a terminal of the usual height."""
INDENT = 7
"""Columns before the text of a line."""


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Repair what is safe to repair while the fleet runs, then check.")
@click.option("--dry-run", is_flag=True, help="With --fix: only show what would be repaired.")
@click.option("--strict", is_flag=True, help="Exit with code 1 also if there is a warning.")
@by_option
@click.pass_obj
def doctor(invocation: Invocation, *, fix: bool, dry_run: bool, strict: bool, by: str | None) -> int:
    """Check the server, the workers, and the consistency of the data.

    What is wrong comes first, the worst on top, and again in the last line. Checks without a finding are one line; -v
    gives each its own. It checks a bounded part of each lane, and without --fix it only reads. Exit code 1 if there is
    a fault; warnings count with --strict, notes never.
    """
    if dry_run and not fix:
        raise click.UsageError("--dry-run belongs to --fix.")
    with invocation.fleet() as fleet:
        repairs = fleet.repair(dry_run=dry_run, by=by) if fix else []
        diagnosis = fleet.doctor()
    output = invocation.output
    wrong = [one.check for one in diagnosis.findings if one.level in ("warning", "fault")]
    repaired = list(_repaired(output, repairs, is_dry=dry_run))
    report = Report(output, diagnosis, is_full=bool(invocation.config.verbose))
    text = "\n".join([*repaired, *report.lines(SCREEN - len(repaired))])
    data = {**diagnosis_data(diagnosis), "repairs": [repair_data(one) for one in repairs]} if fix else None
    output.show(data=data or diagnosis_data(diagnosis), ids=wrong, text=text)
    return fail.FAILED if not diagnosis.is_sound or (strict and wrong) else fail.DONE


def _repaired(output: Output, repairs: Sequence[Repair], *, is_dry: bool) -> Iterator[str]:
    for one in repairs:
        word = "would" if is_dry else "fixed" if one.is_done else "gone"
        yield output.styled(f"{word:<5}", "green") + f"  {one.check}: {plain(one.what)}"


class Report:
    """The findings as lines of a terminal: what is wrong first and last.

    Args:
        output: Where they are printed.
        diagnosis: The findings.
        is_full: Whether each check has its own line, however many lines that makes.
    """

    def __init__(self, output: Output, diagnosis: Diagnosis, *, is_full: bool) -> None:
        self._output = output
        self._is_full = is_full
        self._findings = sorted(diagnosis.findings, key=lambda one: list(WORDS)[::-1].index(one.level))
        self._wide = max(len(one.check) for one in diagnosis.findings)

    def lines(self, most: int) -> list[str]:
        """The lines, in at most that many unless all are asked for."""
        last = self._sum()
        if self._is_full:
            return [*(line for one in self._findings for line in self._finding(one)), last]
        found = [one for one in self._findings if one.level != "ok"]
        fine = [one.check for one in self._findings if one.level == "ok"]
        below = self._listed("ok", fine) if fine else []
        room = most - len(below) - len(last.splitlines())
        return [*self._fitted(found, room), *below, last]

    def _fitted(self, found: Sequence[Finding], room: int) -> list[str]:
        """The worst findings in full; those without room are named."""
        blocks = [self._finding(one) for one in found]
        more: list[str] = []
        while len(blocks) > 1 and sum(map(len, blocks)) + len(more) > room:
            blocks.pop()
            left = [f"{WORDS[one.level][0]} {one.check}" for one in found[len(blocks) :]]
            more = self._listed("more", left, " -v shows them.")
        return [*(line for block in blocks for line in block), *more]

    def _listed(self, word: str, names: Sequence[str], end: str = "") -> list[str]:
        """Names in a sentence, broken at the width of the terminal."""
        color = dict(WORDS.values()).get(word, "dim")
        text = self._output.wrapped(f"{', '.join(names)}.{end}", indent=INDENT)
        return f"{self._output.styled(f'{word:<5}', color)}  {text}".splitlines()

    def _finding(self, one: Finding) -> list[str]:
        word, color = WORDS[one.level]
        indent = self._wide + INDENT + 2
        seen = self._output.wrapped(plain(one.seen), indent=indent)
        text = f"{self._output.styled(f'{word:<5}', color)}  {one.check:<{self._wide}}  {seen}"
        if one.remedy:
            remedy = self._output.wrapped(plain(one.remedy), indent=indent)
            text += "\n" + self._output.styled(f"{'':<{indent}}{remedy}", "dim")
        return text.splitlines()

    def _sum(self) -> str:
        """How many checks there are, and which of them found something wrong."""
        parts = [count(len(self._findings), "check")]
        for level in ("fault", "warning"):
            names = [one.check for one in self._findings if one.level == level]
            parts.append(count(len(names), level) + (f" ({', '.join(names)})" if names else ""))
        return self._output.wrapped(", ".join(parts), indent=0)
