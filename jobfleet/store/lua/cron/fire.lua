-- fire: create the job of a cron entry's planned fire, once, or let it pass.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 meta        hash    id → clear record
--         7 expiry      zset    ids by expires_at (µs)
--         8 totals      hash    counts
--         9 fired       hash    cron entry → last handled fire, and its job
--         10 unique     hash    key → lock
--         11 locks      zset    keys held for a time, by its end (µs)
--         12 grouped    zset    waiting jobs of groups
--         13 gdue       zset    groups by the time of the next check of their turn (µs)
--         14 job:<id>   string  envelope
--         15 journal    stream  lifecycle events
--         16 indexes    zset    index → time of its next cleaning (µs)
--         17..* index:<name> zset each index of the job
-- READS   result:<id>   string  tombstone
--         job:<id>      string  envelope of the last fire's job; whether the holder of a key is open
--         conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 entry       text    its name
--         3 at          int     the fire's time (µs)
--         4 overlap     text    allow, skip, queue; pass only moves the mark
--         5 id          text    job id
--         6 band        int     0..3
--         7 due         int     µs
--         8 meta        text    x +µs counts from now
--         9 envelope    bytes   the call
-- FLAGS   -
-- GUARDS  deadline
-- RETURNS {"fired", now} | {"passed", now} | {"already", now, at, id}   from the mark
--         {"overlapped", now, id} | {"open", now, id}   the open job of the last fire, or the holder of the unique
--         key; open changes nothing
-- EMITS   enqueued
-- COST    O(log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/due
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/base/meta
-- @include lib/job/unique
-- @include lib/waiting/bounds
-- @include lib/group/stand_with
-- @include lib/job/index

local tag, entry, at, overlap = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local id, band, due, meta, envelope = ARGV[5], tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local now = now_us()
local stamp = int(now)

local mark = redis.call('HGET', KEYS[9], entry)
local last_at, last_id = string.match(mark or '', '^(%d+) (.*)$')
if last_at and at <= tonumber(last_at) then return {'already', stamp, last_at, last_id} end
local is_open = last_id and last_id ~= '' and overlap ~= 'allow' and overlap ~= 'pass'
  and redis.call('EXISTS', tag .. 'job:' .. last_id) == 1
local blocker = is_open and last_id
local is_new = redis.call('EXISTS', KEYS[14], tag .. 'result:' .. id) == 0
local key = is_new and overlap ~= 'pass' and meta_field(meta, 'u')
local held = key and lock_on(KEYS[10], tag, key, now)
if held and held.id ~= id then blocker = held.id end
if blocker and overlap == 'queue' then return {'open', stamp, blocker} end
local lock, till = nil, 0
if key then lock, till = lock_for(id, meta_field(meta, 's'), now) end
local over, free = {}, {}
if till > 0 then over, free = stale_locks(KEYS[10], KEYS[11], now, 2) end
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard, indexes, is_free = is_heard(tag), {}, true

if overlap == 'pass' or blocker then
  redis.call('HSET', KEYS[9], entry, int(at) .. ' ' .. (last_id or ''))
  if blocker then return {'overlapped', stamp, blocker} end
  return {'passed', stamp}
end
-- The lock, the envelope and the mark come last: a fire with a mark counts as done, and its job must be complete
-- (docs/adr/0012).
if is_new then
  meta = take_indexes(indexes, meta, id, now, due)
  if meta ~= '' then
    meta = dated(meta, now)
    redis.call('HSET', KEYS[6], id, meta)
    local expires = meta_field(meta, 'x')
    if expires then redis.call('ZADD', KEYS[7], expires, id) end
  end
  write_indexes(indexes, tag, now)
  local lane = {grouped = KEYS[12], gdue = KEYS[13], meta = KEYS[6], tag = tag, now = now}
  is_free = stand_with(KEYS[band + 1], lane, meta, band, tonumber(due), id)
  if key then
    drop_locks(KEYS[10], KEYS[11], over, free)
    if till > 0 then redis.call('ZADD', KEYS[11], int(till), key) end
    redis.call('HSET', KEYS[10], key, lock)
  end
  redis.call('SET', KEYS[14], envelope)
  redis.call('HINCRBY', KEYS[8], 'enqueued', 1)
  if is_free and tonumber(due) <= now and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end
end
redis.call('HSET', KEYS[9], entry, int(at) .. ' ' .. id)

if is_new and (heard or conf[2]) then
  local events = {{'enqueued', id, '0', 0, words = int(band) .. ' ' .. (is_free and due or int(BLOCKED)), envelope = envelope}}
  if conf[2] then write_journal(KEYS[15], KEYS[8], conf[2], events, stamp) end
  if heard then emit(tag, now, events) end
end
return {'fired', stamp}
