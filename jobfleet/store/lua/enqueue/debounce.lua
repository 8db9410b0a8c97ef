-- debounce: give the call of a later job to a job that has not started, and delay it; it keeps its own id.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 meta        hash    id → clear record
--         6 expiry      zset    ids by expires_at (µs)
--         7 totals      hash    counts
--         8 unique      hash    key → lock
--         9 grouped     zset    waiting jobs of groups
--         10 ring       zset    groups by their turn
--         11 gdue       zset    groups by the time of the next check of their turn (µs)
--         12 job:<holder> string envelope of the holder
--         13 journal    stream  lifecycle events
--         14 indexes    zset    index → time of its next cleaning (µs)
--         15..* index:<name> zset each index of the later job
-- READS   tries         hash    id → tries
--         steps:<id>    hash    whether the holder of a key has begun to wait, under @
--         conf          hash    journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 key         text    the unique key
--         3 holder      text    id of the holder
--         4 longest     text    maximum delay in µs after the key was taken; "" for ten times the delay
--         5 id          text    id of the later job, by which a repeated call is recognized
--         6 band        int     0..3
--         7 when        text    "" now, "+µs" from now, "µs" at
--         8 meta        text    clear record of the later job (x +µs counts from now)
--         9 envelope    bytes   header and body of the later job
-- FLAGS   -
-- GUARDS  deadline once
-- RETURNS {"debounced", now, due} | {"changed"}   changed: the holder has started, is blocked or in a
--         sequence, or is another job now
-- EMITS   debounced
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/score
-- @include lib/base/meta
-- @include lib/waiting/due
-- @include lib/job/unique
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/group/group
-- @include lib/job/index

local tag, key, holder, id = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local now = now_us()

local value = redis.call('HGET', KEYS[8], key)
local lock = value and lock_of(value)
local due_before, band, score
for n = 1, 4 do
  local due = redis.call('ZSCORE', KEYS[n], holder)
  if due then due_before, band, score = due_of_score(due), n, due end
end
local has_started = redis.call('HEXISTS', tag .. 'tries', holder) == 1
  or redis.call('HEXISTS', tag .. 'steps:' .. holder, '@') == 1
local had = redis.call('HGET', KEYS[5], holder)
-- A job of a strict sequence keeps its call: its place belongs to it.
local is_placed = had and find(had, '\no ', 1, true)
if not band or is_blocked(due_before) or not lock or lock.id ~= holder or has_started or is_placed then return {'changed'} end
if lock.last == id then return {'debounced', int(now), int(due_before)} end
local asked = tonumber((due_of(ARGV[7], now, int(now))))
local since = lock.since > 0 and lock.since or now
local longest = tonumber(ARGV[4]) or 10 * math.max(0, asked - now)
local due = math.max(due_before, math.min(asked, since + longest))
local indexes = {}
local meta = dated(take_indexes(indexes, ARGV[8], holder, now, due), now)
for line in string.gmatch('\n' .. (had or ''), '\n(l [^\n]*)') do meta = meta .. '\n' .. line end  -- what was done to it
local expires = meta_field(meta, 'x')
local heard, journal = is_heard(tag), redis.call('HGET', tag .. 'conf', 'journal')
local groups = new_groups({grouped = KEYS[9], ring = KEYS[10], gdue = KEYS[11]})
local old, new = had and meta_field(had, 'g'), meta_field(meta, 'g')
if old and tonumber(score) < 0 then groups.leaves(old, band - 1, score, holder) end

redis.call('SET', KEYS[12], ARGV[9])
redis.call('ZREM', KEYS[band], holder)
redis.call('ZADD', KEYS[1 + tonumber(ARGV[6])], new and groups.waits(new, ARGV[6], due, holder) or int(due), holder)
groups.write(now)
redis.call('HSET', KEYS[5], holder, meta)
if expires then
  redis.call('ZADD', KEYS[6], expires, holder)
elseif had and meta_field(had, 'x') then
  redis.call('ZREM', KEYS[6], holder)
end
redis.call('HSET', KEYS[8], key, holder .. ' ' .. int(lock.till) .. ' ' .. int(since) .. ' ' .. id)
redis.call('HINCRBY', KEYS[7], 'debounced', 1)
write_indexes(indexes, tag, now)

local events = {{'debounced', holder, '0', 0, words = ARGV[6] .. ' ' .. int(due), envelope = ARGV[9]}}
if journal then write_journal(KEYS[13], KEYS[7], journal, events, int(now)) end
if heard then emit(tag, now, events) end
return {'debounced', int(now), int(due)}
