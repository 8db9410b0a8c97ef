-- trim_journal: delete events that all groups have acknowledged or that are too old, and dead readers.
--
-- KEYS    1 journal     stream  lifecycle events
--         2 totals      hash    counts
-- ARGV    1 longest     int     µs; older events are deleted, read or not, and counted
--         2 gone        int     ms; a reader that is silent for longer, without unacknowledged events, is deleted
-- FLAGS   allow-oom
-- RETURNS {"trimmed", last, low, dropped, at}   number of the last event; number up to which all are acknowledged or
--         deleted; total number of events deleted unacknowledged; time of the oldest stored one, 0 for none
-- EMITS   -
-- COST    O(groups · readers + deleted entries)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/consumer_groups

-- Entries read for their age, and events deleted, per call; an entry has far fewer events than WIDEST.
local LOOKED_AT, MOST, WIDEST = 10, 20000, 10000
local gone = tonumber(ARGV[2])
local before = now_us() - tonumber(ARGV[1])

local groups, is_there = consumer_groups(KEYS[1])
local counts = redis.call('HMGET', KEYS[2], 'journal', 'journal_low', 'journal_dropped')
local last, low, dropped = tonumber(counts[1] or '0'), tonumber(counts[2] or '0'), tonumber(counts[3] or '0')
if not is_there then return {'trimmed', int(last), int(last), int(dropped), '0'} end
-- A foreign client may have written another number, or deleted it. All entries are later than it, and the first one
-- not by much: a higher number would trim what nobody has read, a lower one would be counted up to here, call by call.
local eldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local first = eldest and math.min(last, tonumber(string.match(eldest[1], '^%d+')))
low = first and math.max(first - WIDEST, math.min(low, first - 1)) or last

local upto, idle = last, {}
for name, group in pairs(groups) do
  upto = math.min(upto, math.max(group.delivered, low))
  if group.pending > 0 then
    local pending = redis.call('XPENDING', KEYS[1], name)[2]
    if pending then upto = math.min(upto, tonumber(string.match(pending, '^%d+')) - 1) end
  end
  local readers = redis.call('XINFO', 'CONSUMERS', KEYS[1], name)
  for i = 1, #readers do
    local facts = {}
    for k = 1, #readers[i], 2 do facts[readers[i][k]] = readers[i][k + 1] end
    if facts.pending == 0 and facts.idle > gone then idle[#idle + 1] = {name, facts.name} end
  end
end
upto = math.max(upto, low)
local oldest, old = 0, upto
local found = redis.call('XRANGE', KEYS[1], int(upto + 1), '+', 'COUNT', LOOKED_AT)
for i = 1, #found do
  oldest = tonumber(found[i][2][2])
  if oldest >= before then break end
  old = tonumber(string.match(found[i][1], '^%d+'))
  oldest = 0
end
old = math.min(old, low + MOST)

for i = 1, #idle do redis.call('XGROUP', 'DELCONSUMER', KEYS[1], idle[i][1], idle[i][2]) end
if old > upto then
  dropped = dropped + old - upto
  redis.call('HINCRBY', KEYS[2], 'journal_dropped', int(old - upto))
end
if old ~= tonumber(counts[2] or '0') then redis.call('HSET', KEYS[2], 'journal_low', int(old)) end
redis.call('XTRIM', KEYS[1], 'MINID', int(old + 1))

return {'trimmed', int(last), int(old), int(dropped), int(oldest)}
