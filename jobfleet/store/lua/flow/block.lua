-- block: enqueue a blocked job, or record more of its parents.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 meta        hash    id → clear record
--         6 expiry      zset    ids by expires_at (µs)
--         7 totals      hash    counts
--         8 unique      hash    key → lock
--         9 locks       zset    keys held for a time, by its end (µs)
--         10 job:<id>   string  envelope
--         11 parents:<id> hash  parent → place and policy, or its ending; number of open ones; due time after that
--         12 journal    stream  lifecycle events
--         13 grouped    zset    waiting jobs of groups
--         14 indexes    zset    index → time of its next cleaning (µs)
--         15..* index:<name> zset each index of the job
-- READS   result:<id>   string  tombstone; how the holder of a key ended
--         job:<id>      string  whether the holder of a key is open
--         runs          hash    id → run
--         tries         hash    id → tries
--         steps:<id>    hash    whether the holder of a key has begun to wait, under @
--         conf          hash    journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 band        int     0..3
--         4 when        text    its due time when it is unblocked: "", "+µs" or "µs"
--         5 meta        text    x +µs counts from now
--         6 envelope    bytes   the call
--         7 ttl         int     ms that the parents are remembered
--         8..* parent   text    two a parent: id, `?policy place` (c cancel, r run, w wait, ~s, ~f, ~u, ~a callbacks)
-- FLAGS   -
-- RETURNS {"blocked", now, created} | {"exists", now}   exists: it is not blocked any more
--         {"held", now, "id status", has_started}   the holder of its unique key
-- EMITS   enqueued
-- COST    O(parents)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/due
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/base/meta
-- @include lib/job/unique
-- @include lib/job/holder
-- @include lib/job/index
-- @include lib/group/sequence

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local tag, id, meta = ARGV[1], ARGV[2], ARGV[5]
local now = now_us()

local is_there = redis.call('EXISTS', KEYS[10]) == 1
local waits = redis.call('EXISTS', KEYS[11]) == 1
if redis.call('EXISTS', tag .. 'result:' .. id) == 1 or (is_there and not waits) then return {'exists', int(now)} end
local parents = {}
for i = 8, #ARGV, 2 do parents[#parents + 1] = ARGV[i] end
local known = is_there and #parents > 0 and redis.call('HMGET', KEYS[11], unpack(parents)) or {}
local heard, journal = is_heard(tag), redis.call('HGET', tag .. 'conf', 'journal')
local indexes = {}
meta = take_indexes(indexes, meta, id, now, string.match(ARGV[4], '^%d+$') or now)
local key = not is_there and meta_field(meta, 'u')
local taken = key and lock_on(KEYS[8], tag, key, now)
if taken and taken.id == id then return {'exists', int(now)} end
if taken then
  local status, has_started = standing_of(tag, KEYS, taken.id, now)
  return {'held', int(now), taken.id .. ' ' .. status, has_started and 1 or 0}
end
local lock, till = nil, 0
if key then lock, till = lock_for(id, meta_field(meta, 's'), now) end
local over, free = {}, {}
if till > 0 then over, free = stale_locks(KEYS[8], KEYS[9], now, 2) end

local fields, open = {}, 0
for i = 1, #parents do
  if not known[i] then
    open = open + 1
    fields[2 * open - 1], fields[2 * open] = parents[i], ARGV[7 + 2 * i]
  end
end
-- The lock and the envelope come last: a job that has either counts as enqueued, and must be complete (docs/adr/0012).
if not is_there then
  redis.call('ZADD', KEYS[tonumber(ARGV[3]) + 1], int(BLOCKED), id)
  redis.call('DEL', KEYS[11])
  redis.call('HSET', KEYS[11], ':when', ARGV[4], ':open', 1, ':guard', '?c 0')
  if meta ~= '' then
    meta = dated(meta, now)
    if is_strict(meta) then  -- it has its place, though its parents may end later
      local places = new_places(KEYS[13], now)
      meta = places.join(meta_field(meta, 'g') or '', meta, id, now)
      places.write()
    end
    redis.call('HSET', KEYS[5], id, meta)
    local expires = meta_field(meta, 'x')
    if expires then redis.call('ZADD', KEYS[6], expires, id) end
  end
  write_indexes(indexes, tag, now)
  if key then
    drop_locks(KEYS[8], KEYS[9], over, free)
    redis.call('HSET', KEYS[8], key, lock)
    if till > 0 then redis.call('ZADD', KEYS[9], int(till), key) end
  end
  redis.call('SET', KEYS[10], ARGV[6])
  redis.call('HINCRBY', KEYS[7], 'enqueued', 1)
end
if open > 0 then
  redis.call('HSET', KEYS[11], unpack(fields))
  redis.call('HINCRBY', KEYS[11], ':open', open)
end
redis.call('PEXPIRE', KEYS[11], ARGV[7])

if not is_there then
  local events = {{'enqueued', id, '0', 0, words = ARGV[3] .. ' ' .. int(BLOCKED), envelope = ARGV[6]}}
  if journal then write_journal(KEYS[12], KEYS[7], journal, events, int(now)) end
  if heard then emit(tag, now, events) end
end
return {'blocked', int(now), is_there and 0 or 1}
