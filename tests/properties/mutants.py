"""Bugs to plant into scripts: what the state machine must find. A row is script, text, what stands there instead."""

from __future__ import annotations

MUTANTS = {
    "a settle without the token": (
        "settle", "if not run or string.sub(run, 1, #token + 1) ~= token .. '|' then", "if not run then",
    ),
    "a claim that knows no nonce": ("claim", "if nonce == seen then", "if nonce == 0 then"),
    "a lease that stays": ("settle", "if #batch.over > 0 then skip(", "if #batch.over > 99 then skip("),
    "a renewal without the token": ("renew", "if not run or run.token ~= token then", "if not run then"),
    "a reaper that does not look again": ("settle", "> now then return 'a' end", "> 9e15 then return 'a' end"),
    "a reaper that does not hold": ("settle", "if not judging then return 'h' end", ""),
    "a gauge that does not fall": ("claim", "if tried > 0 then redis", "if tried > 99 then redis"),
    "an edit of whichever letter there is": (
        "replay", "elseif entry ~= '' and entry ~= letter.entry then", "elseif false then",
    ),
    "a letter that stays": ("replay", "redis.call('XDEL', KEYS[9], letter.entry)", ""),
    "a mark that is forgotten": ("settle", "if item.run.cancel ~= '' then", "if false then"),
    "a job in two bands": ("reschedule", "if place.to ~= place.band or", "if"),
    "a job set aside after the resume": ("settle", "  if is_paused then", "  if true then"),
    "an edit of whatever call there is": ("edit", "~= expected then return {'changed'} end", "== 0 then return end"),
    "an open job that is forgotten": ("forget", "then return {'open'} end", "then id = id end"),
    "a letter that is not forgotten": ("forget", "if entry then", "if false then"),
    "a burial that reads the last token only": (
        "bury", "tokens[id][token] = true", "tokens[id] = {[token] = true}",
    ),
    "a signal that wakes nobody": ("signal", "if is_awaited then", "if false then"),
    "a pause that is not seen": ("claim", "return {'paused', stamp}", "stamp = stamp"),
}  # fmt: skip

RARE = {  # found as surely, after more histories
    "a reaper that does not hold", "a letter that stays", "a renewal without the token",
    "a reaper that does not look again", "a burial that reads the last token only",
}  # fmt: skip
