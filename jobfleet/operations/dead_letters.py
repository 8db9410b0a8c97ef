"""Dead letters: which are meant, lists of them over all lanes, and their replay or purge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Unpack

from jobfleet.errors import ConfigError, DuplicateJob, InvalidJob, JobNotFound
from jobfleet.model import JobResult
from jobfleet.model.fields import LETTER_NAMES, LETTERS, LetterTexts
from jobfleet.model.signals import check_fingerprint
from jobfleet.model.status import check_moment, check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import OF_JOB, state_of
from jobfleet.operations.jobs.edit import Arguments, arguments_of, changed_in, named, with_arguments
from jobfleet.operations.jobs.listing import identity_of
from jobfleet.operations.jobs.matching import texts_in
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, by_lane, value
from jobfleet.operations.payloads import kept, stow
from jobfleet.operations.results import letter_result
from jobfleet.operations.verb import Fingerprint, Id, JsonList, JsonObject, Name, OfQueue, Past, jobs_sentence, verb
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.dead import CHUNK, NEWEST, find_letters, group_name
from jobfleet.store.calls.flow import shorten_parents
from jobfleet.store.calls.run import forget_steps
from jobfleet.store.keys import Lane
from jobfleet.store.records import AS_IT_IS, DeadLetter, Edit, has_id


class DeadFilters(LetterTexts, total=False):
    """The filters of dead letters on each surface; one that is not given matches every letter.

    Some free texts of a job are filters, too; see `LetterTexts`. In Python, a time without a zone is in this machine's
    local zone.

    Attributes:
        function: Only letters of this function.
        fingerprint: Only letters of this group.
        tag: Only letters with this tag.
        texts: Only letters of this {}.
        since: Only letters from this time on: '24h' ago, or 2026-11-25T08:00+01:00.
        until: Only letters from before this time.
    """

    function: Name | None
    fingerprint: Fingerprint | None
    tag: Name | None
    since: Past | None
    until: Past | None


class DeadFilter:
    """A filter of dead letters, made of the queue and `DeadFilters`.

    Attributes:
        queue: The queue.
        function: The registered name of the function.
        fingerprint: The fingerprint of the group.
        tag: A tag.
        texts: The given free texts, by the names of their fields.
        since: Only letters from this time on.
        until: Only letters from before this time.
        is_narrow: Whether it has any field but the queue.

    Raises:
        InvalidJob: A field has a wrong value; `field` names it.
    """

    def __init__(self, queue: str | None = None, **given: Unpack[DeadFilters]) -> None:
        for name in given:
            if name not in DeadFilters.__annotations__:
                raise TypeError(f"There is no filter {name!r}; use {', '.join(DeadFilters.__annotations__)}.")
        self.queue: str | None = queue
        self.is_narrow: bool = any(value is not None for value in given.values())
        self.function: str | None = given.get("function")
        self.fingerprint: str | None = given.get("fingerprint")
        self.tag: str | None = given.get("tag")
        self.texts: dict[str, str] = texts_in(given, LETTER_NAMES)
        self.since: datetime | None = given.get("since")
        self.until: datetime | None = given.get("until")
        texts_in(given, ("function", "tag"))
        if self.fingerprint is not None:
            check_fingerprint(self.fingerprint)
        for name, moment in (("since", self.since), ("until", self.until)):
            if moment is not None:
                check_moment(moment, field=name)
        if self.since is not None and self.until is not None and self.since_ms >= self.until_ms:
            raise InvalidJob("until is not later than since; no letter matches.", field="until")

    @property
    def since_ms(self) -> int:
        """The earliest time in ms since 1970."""
        return 0 if self.since is None else max(0, round(self.since.timestamp() * 1000))

    @property
    def until_ms(self) -> int:
        """The first time in ms since 1970 that is too late; 0 for none."""
        return 0 if self.until is None else max(1, round(self.until.timestamp() * 1000))

    @property
    def name(self) -> str:
        """The name under which such letters are filed, of which few have others; empty if none applies."""
        if self.fingerprint is not None:
            return group_name(self.fingerprint)
        texts = ((field.letter, self.texts.get(field.name)) for field in LETTERS)
        named = (("t", self.tag), *texts, ("f", self.function))
        return next((f"{kind}:{text}" for kind, text in named if text is not None and text.isprintable()), "")

    def fits(self, letter: DeadLetter) -> bool:
        """Whether a letter matches; not its time."""
        if self.fingerprint is None and self.function is None and self.tag is None and not self.texts:
            return True
        seen = identity_of(letter)
        return (
            self.fingerprint in (None, seen.fingerprint)
            and self.function in (None, seen.function)
            and (self.tag is None or self.tag in seen.tags)
            and self.texts.items() <= seen.texts.items()
        )


ROUNDS = 20
"""The most rounds of calls per 1,000 letters of a page. A page of letters that match rarely is short, not late."""
_CURSOR = re.compile(r"(\d{1,14})-(\d{1,20})~([^~]{1,200})\.(\d{1,6})")


class Position(NamedTuple):
    """The place of a letter in the order of all lanes; later letters are greater.

    Attributes:
        ms: The time of its entry.
        seq: The number of its entry in that ms.
        queue: Its queue.
        lane: The number of its lane.
    """

    ms: int
    seq: int
    queue: str
    lane: int

    @property
    def text(self) -> str:
        """The position as a cursor."""
        return f"{self.ms}-{self.seq}~{self.queue}.{self.lane}"


NO_POSITION = Position(0, 0, "", -1)


class Row(NamedTuple):
    """A dead letter, and its place in the order of all lanes."""

    at: Position
    letter: DeadLetter


@dataclass(slots=True)
class _Walk:
    """The way through the letters of one lane.

    Attributes:
        lane: The lane.
        before: Only letters with an older entry follow.
        last: The position of the last letter that was looked at; None at the beginning.
        is_over: Whether no letter follows.
        rows: The matching letters.
    """

    lane: Lane
    before: str
    last: Position | None = None
    is_over: bool = False
    rows: list[Row] = field(default_factory=list)


def read_cursor(cursor: str) -> Position | None:
    """Parse a cursor; None for the first page.

    Raises:
        ConfigError: It is not the cursor of an earlier page.
    """
    if not cursor:
        return None
    match = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if match is None:
        raise ConfigError(f"cursor is {cursor!r:.100}; give the cursor of the previous page.")
    return Position(int(match[1]), int(match[2]), match[3], int(match[4]))


def page(
    every: Iterable[Lane], chosen: DeadFilter, *, limit: int, after: Position | None
) -> Operation[tuple[list[Row], Position | None]]:
    """Return at most `limit` matching letters of some lanes, and the position after which the next page begins.

    Args:
        every: The lanes.
        chosen: The filter.
        limit: The most letters.
        after: Only letters with a smaller position; None for the newest.
    """
    walks = [_Walk(lane, _before(lane, after, chosen.until_ms)) for lane in every]
    size, rounds = min(limit, CHUNK), ROUNDS * (1 + limit // 1000)
    for _ in range(rounds):
        cut = _cut(walks, limit)
        going = [walk for walk in walks if not walk.is_over and (walk.last is None or walk.last > cut)]
        if not going:
            break
        answers = yield [
            find_letters(walk.lane, chosen.name, before=walk.before, since_ms=chosen.since_ms, limit=size)
            for walk in going
        ]
        for walk, answer in zip(going, answers, strict=True):
            _take(walk, value([answer]), chosen)
    return _result(walks, limit)


def _take(walk: _Walk, found: tuple[Sequence[DeadLetter], str], chosen: DeadFilter) -> None:
    letters, last = found
    walk.rows += [Row(_position(walk.lane, letter.entry), letter) for letter in letters if chosen.fits(letter)]
    walk.is_over = not last
    if last:
        walk.before, walk.last = last, _position(walk.lane, last)


def _cut(walks: Sequence[_Walk], limit: int) -> Position:
    """The position of the last row of a page of all that was found; older letters are not needed."""
    rows = sorted((row.at for walk in walks for row in walk.rows), reverse=True)
    return rows[limit - 1] if len(rows) >= limit else NO_POSITION


def _result(walks: Sequence[_Walk], limit: int) -> tuple[list[Row], Position | None]:
    """Cut the page where a lane was not read on, because it may have letters there that belong before others."""
    open_at = max((walk.last for walk in walks if not walk.is_over and walk.last is not None), default=None)
    rows = sorted((row for walk in walks for row in walk.rows), key=lambda row: row.at, reverse=True)
    sure = [row for row in rows if open_at is None or row.at >= open_at][:limit]
    if len(sure) == limit and (open_at is not None or len(rows) > limit):
        return sure, sure[-1].at
    return sure, open_at


def _before(lane: Lane, after: Position | None, until_ms: int) -> str:
    """The entry before which the letters of a lane begin."""
    before = (until_ms, 0) if until_ms else None
    if after is not None:
        # Letters with the same entry in a later lane were on the page before; in an earlier lane they are not yet.
        own = (after.ms, after.seq + ((lane.queue, lane.index) < (after.queue, after.lane)))
        before = min(own, before) if before else own
    return NEWEST if before is None else f"{before[0]}-{before[1]}"


def _position(lane: Lane, entry: str) -> Position:
    ms, _, seq = entry.partition("-")
    return Position(int(ms), int(seq or 0), lane.queue, lane.index)


class DeadLetters(list[JobResult[Any]]):
    """Dead letters, newest first.

    Attributes:
        cursor: The argument for the next page; empty on the last page. A page may be short and have a cursor, because
            a bounded number of letters is read for it.
        fingerprints: The fingerprint of the group of each letter, in the same order.
    """

    cursor: str = ""
    fingerprints: Sequence[str] = ()


def dead(context: FleetContext, chosen: DeadFilter, *, limit: int = 50, cursor: str = "") -> Operation[DeadLetters]:
    """List a page of the dead letters that match a filter.

    Args:
        context: The context of the fleet.
        chosen: The filter.
        limit: The most dead letters to return.
        cursor: `DeadLetters.cursor` of the page before; empty for the first page.

    Raises:
        ConfigError: The queue does not exist, or the cursor is not one of an earlier page.
        InvalidJob: `limit` is not a whole number from 0.
    """
    check_number(limit, least=0)
    after = read_cursor(cursor)
    every = yield from lanes(context, chosen.queue)
    found = DeadLetters()
    if limit:
        rows, following = yield from page(every, chosen, limit=limit, after=after)
        letters = [row.letter for row in rows if has_id(row.letter)]
        found.extend(letter_result(letter, limits=context.limits) for letter in letters)
        found.fingerprints = [identity_of(letter).fingerprint for letter in letters]
        found.cursor = following.text if following is not None else ""
    return found


def count(context: FleetContext, chosen: DeadFilter) -> Operation[int]:
    """Count the dead letters that match a filter.

    The lanes count all their letters. With a further filter, every letter with the name of the filter is read.
    """
    every = yield from lanes(context, chosen.queue)
    if every and not chosen.is_narrow:
        answers: list[Any] = yield [inspect.counts(lane) for lane in every]
        return sum(value([answer]).dead for answer in answers)
    total = 0
    after: Position | None = None
    while True:
        rows, after = yield from page(every, chosen, limit=1000, after=after)
        total += len(rows)
        if after is None:
            return total


@verb(
    "replay_many", recorded="dead.replay", route="/dead/letters/replay", command="dead replay", target=("queue",),
    result="replayed", done=jobs_sentence("Back in their queues"),
)  # fmt: skip
def replay_many(
    context: FleetContext,
    queue: OfQueue | None = None,
    *,
    fresh: bool = False,
    by: str | None = None,
    **filters: Unpack[DeadFilters],
) -> Operation[int]:
    """Put the dead jobs that match all filters back into their queues.

    A job that fails again meanwhile is not replayed a second time.

    Args:
        queue: Only letters of this queue.
        fresh: Repeat the completed steps, too.
        filters: Which letters; see `DeadFilters`.

    Returns:
        How many were replayed.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: A filter has a wrong value.
    """
    chosen, total = DeadFilter(queue=queue, **filters), 0
    every = yield from lanes(context, chosen.queue)
    after: Position | None = None
    while True:
        rows, after = yield from page(every, chosen, limit=1000, after=after)
        total += yield from _replay(context, rows, by, fresh=fresh)
        if after is None:
            return total


def _replay(context: FleetContext, rows: list[Row], by: str | None, *, fresh: bool) -> Operation[int]:
    known = ((context.keys.lane_of(row.letter.id), row) for row in rows if has_id(row.letter))
    total = 0
    for lane, part in by_lane(known, CHUNK):
        edits = {row.letter.id: Edit(row.letter.entry) for row in part}
        calls: list[Call[Any]] = [forget_steps(lane, job_id) for job_id in edits] if fresh else []
        answers = yield [*calls, control.replay(lane, list(edits), by=by, edits=edits)]
        value(answers)
        total += value(answers[-1:]).count("replayed")
    return total


@verb(
    "purge", recorded="job.purge", route="/jobs/{id}/purge", command="dead purge", result="deleted", role="admin",
    before=state_of, done="The dead letter was deleted.", unchanged="It has no dead letter.", **OF_JOB,
)  # fmt: skip
def purge(context: FleetContext, job_id: Id) -> Operation[bool]:
    """Delete a dead letter for good.

    Args:
        job_id: The id of the job.

    Returns:
        False if it has none.

    Raises:
        JobNotFound: `job_id` is not a job id.
    """
    lane = context.keys.lane_of(job_id)
    shown = round(context.config.failed_result_ttl * 1000)  # no replay needs its parents any more
    return bool(value((yield (control.purge(lane, (job_id,)), shorten_parents(lane, [(job_id, shown)])))))


NO_LETTER = Edit(entry="0-0")
"""The edit for a job without a dead letter: if it dies at this moment, the replay does not take its old arguments."""


@verb(
    "replay", recorded="job.replay", route="/jobs/{id}/replay", command="dead replay", result="replayed",
    before=state_of, change=named, done="It is back in its queue.", unchanged="It was open already.", **OF_JOB,
)  # fmt: skip
def replay(
    context: FleetContext,
    job_id: Id,
    *,
    fresh: bool = False,
    by: str | None = None,
    args: JsonList | None = None,
    kwargs: JsonObject | None = None,
) -> Operation[bool]:
    """Put a dead job back into its queue, with its history and its completed steps.

    Args:
        job_id: The id of the job.
        fresh: Repeat the completed steps, too.
        args: All positional arguments, in JSON a list; default the original ones.
        kwargs: All named arguments, in JSON an object; default the original ones.

    Returns:
        False if it is open, or was completed since.

    Raises:
        JobNotFound: The job has no dead letter.
        DuplicateJob: Another job holds its unique key.
        EncodingError: An argument cannot travel, or the envelope cannot be read.
    """
    wanted = arguments_of(args, kwargs)
    lane, word, edit = context.keys.lane_of(job_id), "", NO_LETTER
    while word in ("", "changed"):
        before = edit
        edit = AS_IT_IS if wanted is None else (yield from _edit(context, job_id, wanted))
        if NO_LETTER not in (before, edit) and word and not edit.envelope:
            return False  # the edit was done before, its reply was lost, and the job died again with the new arguments
        calls: list[Call[Any]] = [control.replay(lane, (job_id,), by=by, edits={job_id: edit})]
        if fresh:
            calls.insert(0, forget_steps(lane, job_id))
        answers = yield calls
        value(answers)
        word = value(answers[-1:])[0]
    if word == "unknown":
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    if word.startswith("duplicate:"):
        raise DuplicateJob(word.partition(":")[2])
    return bool(word == "replayed")


def _edit(context: FleetContext, job_id: str, wanted: Arguments) -> Operation[Edit]:
    """The edit of the stored letter; it has no envelope if the letter has these arguments already."""
    letter: DeadLetter | None = value((yield (inspect.letter(context.keys.lane_of(job_id), job_id),)))
    if letter is None:
        return NO_LETTER
    before = (yield from kept(context, letter.envelope)) if wanted.keeps_some else letter.envelope
    envelope = with_arguments(before, wanted, context.limits, context.registry)
    if envelope == before:
        return Edit(letter.entry)
    changed = changed_in(context, before, envelope)
    return Edit(letter.entry, (yield from stow(context, job_id, envelope)), changed)
