"""What a key changes in a triage. Pure: an act is returned, not done."""

from __future__ import annotations

from dataclasses import replace

from jobfleet.cli.terminal.frame import Extent, Step
from jobfleet.cli.terminal.frame import moved as scrolled
from jobfleet.cli.triage.state import SKIPPED, Act, Seen, State, Verb, marked, moved

KEYS = (
    ("r", "replay all letters of the group"),
    ("c", "rescue: replay a canary, then the rest; it stops by itself"),
    ("v", "resolve: the cause is removed"),
    ("i", "ignore: send no more notifications"),
    ("s n", "skip: go to the next group"),
    ("b p", "go back to the previous group"),
    ("j k ↑ ↓", "scroll the traceback"),
    ("q", "quit"),
)
NOTHING_DONE = "Nothing was changed."
_VERBS = {"r": Verb.REPLAY, "c": Verb.RESCUE, "v": Verb.RESOLVE, "i": Verb.IGNORE}
_SCROLLS = {"j": 1, "down": 1, "k": -1, "up": -1}
_PAGES = {"page-down": 1, " ": 1, "page-up": -1}


def press(state: State, key: str, seen: Seen, extent: Extent) -> Step[State, Act]:
    """Press a key.

    Args:
        state: The state before.
        key: The key; see `KeyReader`.
        seen: What the screen shows.
        extent: How much of it.
    """
    if state.asks is not None:
        done = state.asks if key in {"y", "Y"} else None
        return Step(replace(state, asks=None, message=done.begun if done else NOTHING_DONE), done)
    if state.is_help:
        return Step(replace(state, is_help=False), is_over=key in {"q", "Q"})
    state = replace(state, message="")
    if key in {"q", "Q"}:
        return Step(state, is_over=True)
    if key == "?":
        return Step(replace(state, is_help=True))
    if key in _VERBS:
        return Step(_asked(state, _VERBS[key], seen))
    if key in {"s", "n"}:
        return Step(_skipped(state))
    if key in {"b", "p"}:
        return Step(moved(state, -1))
    lines = _SCROLLS.get(key, 0) + _PAGES.get(key, 0) * extent.room
    return Step(replace(state, scroll=scrolled(state.scroll, lines, extent)))


def _asked(state: State, verb: Verb, seen: Seen) -> State:
    group = seen.group
    if group is None or group.fingerprint != state.fingerprint:
        return replace(state, message="There is no group here.")
    number = seen.letters if verb is Verb.REPLAY else group.count
    if not number and verb in {Verb.REPLAY, Verb.RESCUE}:
        return replace(state, message="The group has no dead letters any more.")
    return replace(state, asks=Act(verb, group.fingerprint, number))


def _skipped(state: State) -> State:
    fingerprint = state.fingerprint
    if fingerprint is None:
        return state
    after = moved(state, 1)
    return after if fingerprint in state.marks else marked(after, fingerprint, SKIPPED)
