-- enqueue: put jobs into a lane, each once.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    the marker idle children block on
--         6 meta        hash    id → clear record
--         7 expiry      zset    ids by expires_at (µs)
--         8 totals      hash    counts
--         9 unique      hash    key → lock
--         10 locks      zset    keys held for a time, by when that is over (µs)
--         11..* job:<id> string envelope, one key an item
-- READS   result:<id>   string  tombstone; how the holder of a key ended
--         job:<id>      string  whether the holder of a key is open
--         runs          hash    id → run
--         tries         hash    id → tries
--         conf          hash    paused
--         listeners     string  whether anybody listens
-- ARGV    1 tag         text    the lane's prefix
--         2..* item     text    five an item: id, band, when ("" now, "+µs" from now, "µs" at), meta (x +µs counts from now), envelope
-- FLAGS   -
-- RETURNS {"enqueued", now, letters}
--         {"enqueued", now, letters, {"id status", …}}   with who holds their key, where any is held
--         letters: c created, e exists, w held by one that waits and has not started, h held otherwise
-- EMITS   enqueued
-- COST    O(items · log ready)
-- @include lib/clock
-- @include lib/number
-- @include lib/meta
-- @include lib/due
-- @include lib/unique
-- @include lib/holder
-- @include lib/event

local KEYS, ARGV = KEYS, ARGV  -- globals are slow in a loop
local tag = ARGV[1]
local now = now_us()
local stamp = int(now)

local items = (#ARGV - 1) / 5
local places = {tag .. 'conf', tag .. 'listeners'}
for i = 1, items do
  places[2 * i + 1] = KEYS[10 + i]
  places[2 * i + 2] = tag .. 'result:' .. ARGV[5 * i - 3]
end
-- One question for all that is mostly not there: settings, listeners, jobs and tombstones of these ids.
local known = redis.call('EXISTS', unpack(places)) > 0
local paused = known and redis.call('HGET', places[1], 'paused')
local heard = known and is_heard(tag)

local ready, envelopes, metas, events, letters, seen = {}, {}, {}, {}, {}, {}
local due_now, fresh = false, 0
local taken, locks, timed, holders  -- made for the first job that has a unique key

-- Whether a job's unique key is free; takes it for the calls that follow in this batch.
local function judged(id, meta, when)
  local key = meta_field(meta, 'u')
  if not key then return 'c' end
  taken, locks, timed = taken or {}, locks or {}, timed or {}
  local lock = taken[key] or lock_on(KEYS[9], tag, key, now)
  if lock then
    if lock.id == id then return 'e' end
    local status, has_started = lock.status, false
    if not status then status, has_started = standing_of(tag, KEYS, lock.id, now) end
    holders = holders or {}
    holders[#holders + 1] = lock.id .. ' ' .. status
    return has_started and 'h' or 'w'
  end
  local _, is_now = due_of(when, now)
  taken[key] = {id = id, status = is_now and 'queued' or 'scheduled'}
  local value, till = lock_for(id, meta_field(meta, 's'), now)
  locks[#locks + 1] = key
  locks[#locks + 1] = value
  if till > 0 then
    timed[#timed + 1] = int(till)
    timed[#timed + 1] = key
  end
  return 'c'
end

for i = 1, items do
  local at = 5 * i - 3
  local id, meta = ARGV[at], ARGV[at + 3]
  local letter = 'c'
  if seen[id] or (known and redis.call('EXISTS', places[2 * i + 1], places[2 * i + 2]) > 0) then
    letter = 'e'
  elseif meta ~= '' then
    letter = judged(id, meta, ARGV[at + 2])
  end
  letters[i] = letter
  if letter == 'c' then
    seen[id] = true
    fresh = fresh + 1
    local due, is_now = due_of(ARGV[at + 2], now)
    due_now = due_now or is_now
    local band = ready[ARGV[at + 1] + 1]
    if not band then
      band = {}
      ready[ARGV[at + 1] + 1] = band
    end
    band[#band + 1] = due
    band[#band + 1] = id
    envelopes[2 * fresh - 1] = KEYS[10 + i]
    envelopes[2 * fresh] = ARGV[at + 4]
    if meta ~= '' then
      metas[#metas + 1] = id
      metas[#metas + 1] = dated(meta, now)
    end
    if heard then events[fresh] = {'enqueued', id, '0', 0} end
  end
end

local over, free
if timed and #timed > 0 then over, free = stale_locks(KEYS[9], KEYS[10], now, #timed) end  -- two go for each that comes

if fresh > 0 then
  redis.call('MSET', unpack(envelopes))
  for band = 1, 4 do
    if ready[band] then redis.call('ZADD', KEYS[band], unpack(ready[band])) end
  end
  for k = 1, #metas, 2 do
    redis.call('HSET', KEYS[6], metas[k], metas[k + 1])
    local expires = meta_field(metas[k + 1], 'x')
    if expires then redis.call('ZADD', KEYS[7], expires, metas[k]) end
  end
  if locks and #locks > 0 then
    if over then drop_locks(KEYS[9], KEYS[10], over, free) end
    redis.call('HSET', KEYS[9], unpack(locks))
    if #timed > 0 then redis.call('ZADD', KEYS[10], unpack(timed)) end
  end
  redis.call('HINCRBY', KEYS[8], 'enqueued', fresh)
  if due_now and not paused then redis.call('ZADD', KEYS[5], 0, 'w') end
end

if heard then emit(tag, now, events) end
return {'enqueued', stamp, table.concat(letters), holders}
