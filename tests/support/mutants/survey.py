"""Tries a sample of a file's mutants, and tells which ones no test noticed."""

from __future__ import annotations

import queue
import random
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.mutants import lua, python
from tests.support.mutants.mutant import Key, Mutant
from tests.support.mutants.trial import Outcome, Trial

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
FIND: Mapping[str, Callable[[bytes], list[Mutant]]] = {".py": python.mutants, ".lua": lua.mutants}
BROKEN = b"(\n"
"""No text of either language: tests that pass with it do not load the file."""
BASE_LIMIT, SLOWER, FIRST_LIMIT = 10.0, 5.0, 600.0
"""Seconds that a run may take: the first, plus so many times what the unchanged file took; and the unchanged file's."""
Records = Mapping[str, Mapping[Key, str]]


@dataclass
class Survey:
    """What became of the mutants of one file.

    Attributes:
        path: The file, from the root of the tree.
        source: Its text.
        count: How many mutants it has.
        caught: Those that a test noticed.
        survived: Those that none noticed.
        equivalent: Those that none noticed and none can, with the recorded reason.
        wrong: Those that are recorded as equivalent, though a test noticed them.
        stale: Records that fit no mutant of the file as it is.
    """

    path: str
    source: bytes
    count: int
    caught: list[Mutant] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    equivalent: list[tuple[Mutant, str]] = field(default_factory=list)
    wrong: list[Mutant] = field(default_factory=list)
    stale: list[Key] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many were tried."""
        return len(self.caught) + len(self.survived) + len(self.equivalent) + len(self.wrong)

    @property
    def share(self) -> float:
        """The share of those caught among all that are not equivalent."""
        noticed = len(self.caught) + len(self.wrong)
        tried = noticed + len(self.survived)
        return noticed / tried if tried else 1.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.survived or self.wrong)

    def lines(self) -> Iterator[str]:
        """What to print."""
        yield (
            f"{self.path}: {self.tried} of {self.count} mutants tried, {len(self.caught) + len(self.wrong)} caught, "
            f"{len(self.equivalent)} equivalent, {len(self.survived)} survived: {self.share:.1%}"
        )
        for title, mutants in (("survived", self.survived), ("recorded as equivalent, but caught", self.wrong)):
            for mutant in mutants:
                yield from self._told(title, mutant)
        for mutant, reason in self.equivalent:
            yield from self._told(f"equivalent ({reason})", mutant)
        for key in self.stale:
            yield f"  a record fits no mutant, remove it: {key.before!r} → {key.after!r}"

    def _told(self, title: str, mutant: Mutant) -> Iterator[str]:
        key = mutant.key(self.source)
        yield f"  line {mutant.line(self.source)}, {mutant.operator}, {key.scope or 'top'}: {title}"
        yield from (f"    - {line}" for line in key.before.splitlines())
        yield from (f"    + {line}" for line in key.after.splitlines())


def records(path: Path = EQUIVALENT) -> Records:
    """The mutants that are recorded as equivalent, by file: key and reason.

    Raises:
        ValueError: One has no reason.
    """
    found: dict[str, dict[Key, str]] = {}
    for row in tomllib.loads(path.read_text())["mutant"]:
        if not row["why"].strip():
            raise ValueError(f"{path.name}: say why no test can notice {row['after']!r}")
        key = Key(row.get("scope", ""), row["before"], row["after"], row.get("below", ""))
        found.setdefault(row["file"], {})[key] = row["why"]
    return found


def survey(
    tree: Path,
    path: str,
    tests: Sequence[str],
    *,
    sample: int = 0,
    seed: int = 0,
    jobs: int = 1,
    known: Mapping[Key, str] | None = None,
    options: Sequence[str] = (),
    progress: Callable[[Survey], None] = lambda _: None,
) -> Survey:
    """Try mutants of one file.

    Args:
        tree: The root of the tree; it is copied, not written.
        path: The file, from there.
        tests: Those that are to notice them.
        sample: How many mutants, chosen by the seed; 0 for all.
        seed: Of the choice.
        jobs: How many at once, each on a copy of its own.
        known: Those that are recorded as equivalent, with the reason.
        options: Further options of pytest.
        progress: Is told after each mutant.

    Raises:
        ValueError: The tests fail with the file as it is, or do not load it.
    """
    known = known or {}
    source = (tree / path).read_bytes()
    found = FIND[Path(path).suffix](source)
    chosen = found
    if 0 < sample < len(found):
        chosen = sorted(random.Random(f"{seed} {path}").sample(found, sample))
    all_keys = {key for mutant in found for key in mutant.keys(source)}
    told = Survey(path, source, len(found), stale=[key for key in known if key not in all_keys])
    for mutant, outcome in zip(chosen, _outcomes(tree, path, tests, source, chosen, jobs, options), strict=True):
        reason = next((known[key] for key in mutant.keys(source) if key in known), None)
        if not outcome.is_green:
            (told.caught if reason is None else told.wrong).append(mutant)
        elif reason is not None:
            told.equivalent.append((mutant, reason))
        else:
            told.survived.append(mutant)
        progress(told)
    return told


def _outcomes(
    tree: Path,
    path: str,
    tests: Sequence[str],
    source: bytes,
    chosen: Sequence[Mutant],
    jobs: int,
    options: Sequence[str],
) -> Iterator[Outcome]:
    """The outcome for each mutant, in turn."""
    with ExitStack() as stack:
        copies = [stack.enter_context(Trial(tree, options)) for _ in range(max(1, jobs))]
        plain = [copy.run(tests, limit=FIRST_LIMIT) for copy in copies]
        for outcome in plain:
            if not outcome.is_green:
                raise ValueError(f"{path}: the tests fail with the file as it is:\n{outcome.said}")
        if copies[0].run_changed(path, BROKEN, tests, limit=FIRST_LIMIT).is_green:
            raise ValueError(f"{path}: the tests pass though the file cannot be loaded: they do not use it")
        limit = BASE_LIMIT + SLOWER * max(outcome.took for outcome in plain)
        idle: queue.SimpleQueue[Trial] = queue.SimpleQueue()
        for copy in copies:
            idle.put(copy)

        def outcome_of(mutant: Mutant) -> Outcome:
            copy = idle.get()
            try:
                return copy.run_changed(path, mutant.apply(source), tests, limit=limit)
            finally:
                idle.put(copy)

        pool = ThreadPoolExecutor(len(copies))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        yield from pool.map(outcome_of, chosen)
