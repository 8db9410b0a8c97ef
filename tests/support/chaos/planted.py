"""Bugs to plant into a copy of the package. A checker that has not caught a planted bug is not a checker."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

from tests.support.chaos.fault import FAULTS, run
from tests.support.chaos.figures import Verdict
from tests.support.fleet import ROOT

CLAIM, RENEW, TICK = (f"store/lua/lease/{name}.lua" for name in ("claim", "renew", "tick"))
SETTLE, TRIP, BARRIER = "store/lua/settle/settle.lua", "store/trip.py", "store/call.py"
CONTEXT = "operations/fleet_context.py"

ALL_LEASES = "ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf',"
KEEPS_OWNER = """flush(batch, keys, tag)
for n = 1, #ids do
  if starts[n] and ARGV[starts[n] + 1] == 'expired' and runs[n] then redis.call('HSET', KEYS[6], ids[n], runs[n]) end
end
"""
RENAMES = """def _renamed(verdict: Any) -> Any:
    call = verdict.call
    if not verdict.away or not call.script.name.startswith('enqueue'):
        return call
    old = next(key for key in call.keys if ':job:' in key)[-6:]
    new = '%06x' % random.getrandbits(24)
    swap = lambda part: part.replace(old, new) if isinstance(part, str) else part
    return call._replace(keys=tuple(map(swap, call.keys)), args=tuple(map(swap, call.args)))


def repeated(
"""


class Edit(NamedTuple):
    """One change of a file of the package."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A planted bug.

    Attributes:
        name: What is wrong.
        fault: The fault under which the checker must find it.
        expected: The invariants of which at least one must be violated.
        edits: The changes.
    """

    name: str
    fault: str
    expected: frozenset[int]
    edits: tuple[Edit, ...]


MUTANTS: dict[str, Mutant] = {
    key: Mutant(name, fault, frozenset(expected), tuple(Edit(*one) for one in edits))
    for key, name, fault, expected, edits in (
        (
            "ack-unfenced", "an acknowledgement is not checked against the token", "freeze-worker", {7},
            (
                (SETTLE, "if run and find(run, token, 1, true) == 1 and byte(run, width) == 124\n", "if run\n"),
                (SETTLE, "if not run or string.sub(run, 1, #token + 1) ~= token .. '|' then", "if not run then"),
            ),
        ),
        (
            "renew-unowned", "a renewal does not ask for the owner", "freeze-worker", {3},
            (
                (RENEW, "runs[i] and run_parts(runs[i])", "runs[i] and run_parts(runs[i]) or {cancel = ''}"),
                (RENEW, "if not run or run.token ~= token then", "if not run then"),
            ),
        ),
        (
            "claim-nonceless", "a repeated claim grants again", "swallow-reply", {10},
            ((CLAIM, "  if nonce == seen then\n", "  if nonce == 0 then\n"),),
        ),
        (
            "fence-counter", "the fencing token is a counter, and a failover loses its last values",
            "failover-lost-writes", {4, 5, 25},
            (
                (CLAIM, "local floor, former = now,", "local floor, former = 1,"),
                (CLAIM, "then floor = now + 60000000 end", "then floor = 1 end"),
            ),
        ),
        (
            "wait-ignored", "a confirmation of no replica counts as one", "replicated-failover", {1},
            (
                (BARRIER, "not _is_at_least(left.pop(0), self._least)", "not _is_at_least(left.pop(0), 0)"),
                (CONTEXT, "return facts.replicas is None or facts.replicas >=", "return True or 0 >="),
            ),
        ),
        (
            "reap-keeps-owner", "a reaper returns the job and keeps its owner", "kill-worker", {3},
            (
                (
                    SETTLE, "flush(batch, keys, tag)\n",
                    KEEPS_OWNER,
                ),
            ),
        ),
        (
            "reap-early", "a reaper does not look at the lease again", "none", {13},
            (
                (TICK, "ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', stamp,", ALL_LEASES),
                (SETTLE, "if tonumber(redis.call('ZSCORE', keys.lease, item.id) or '0') > now then", "if false then"),
            ),
        ),
        (
            "retry-renamed", "a request whose reply was lost is repeated under another id", "swallow-reply", {2},
            (
                (TRIP, "calls[index] = verdict.call\n", "calls[index] = _renamed(verdict)\n"),
                (
                    TRIP, "def repeated(\n",
                    RENAMES,
                ),
            ),
        ),
        (
            "ack-keeps-lease", "an acknowledgement leaves the lease", "none", {3},
            ((SETTLE, "  redis.call('ZREM', KEYS[5], unpack(ids))\n", ""),),
        ),
        (
            "priority-inverted", "a claim visits the bands in the wrong order", "none", {17},
            ((CLAIM, "STRICT, ONLY_NORMAL = {1, 2, 3, 4}", "STRICT, ONLY_NORMAL = {4, 3, 2, 1}"),),
        ),
        (
            "early", "a claim takes jobs before they are due", "none", {16},
            ((CLAIM, "KEYS[band], '-inf', stamp, 'WITHSCORES'", "KEYS[band], '-inf', int(now + 1e12), 'WITHSCORES'"),),
        ),
        (
            "cap-ignored", "a claim does not count the running jobs of a group", "none", {22},
            (("store/lua/lib/group/limit.lua", "if limits.most > 0 then", "if limits.most > 99 then"),),
        ),
        (
            "cancel-forgotten", "a cancelled waiting job stays in its band", "none", {1},
            (("store/lua/control/cancel.lua", "    leave(batch, keys, item, item.band, item.score)\n", ""),),
        ),
    )
}  # fmt: skip


class NotPlanted(Exception):
    """The text that a mutant replaces is not there any more."""


def plant(mutant: Mutant, root: Path) -> None:
    """Make a tree with the bug.

    Raises:
        NotPlanted: The source has changed: mend the mutant.
    """
    shutil.copytree(ROOT / "jobfleet", root / "jobfleet", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").symlink_to(ROOT / "tests")
    for edit in mutant.edits:
        path = root / "jobfleet" / edit.file
        source = path.read_text()
        if source.count(edit.old) != 1:
            raise NotPlanted(f"{edit.file} has {source.count(edit.old)} times {edit.old!r}")
        path.write_text(source.replace(edit.old, edit.new))


def hunt(mutant: Mutant, *, seed: int, jobs: int, folder: Path) -> Verdict:
    """Run the mutant under its fault; answer the verdict, whose `fault` names the mutant."""
    root = folder / "root"
    root.mkdir(parents=True)
    plant(mutant, root)
    begun = time.monotonic()
    verdict = run(FAULTS[mutant.fault], seed=seed, jobs=jobs, folder=folder / "run", root=root)
    key = next(key for key, one in MUTANTS.items() if one is mutant)
    return verdict._replace(fault=key, seconds=round(time.monotonic() - begun, 1))
