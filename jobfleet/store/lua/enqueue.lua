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
--         9..* job:<id> string  envelope, one key an item
-- READS   result:<id>   string  tombstone
--         conf          hash    paused
--         listeners     string  whether anybody listens
-- ARGV    1 tag         text    the lane's prefix
--         2..* item     text    five an item: id, band, when ("" now, "+µs" from now, "µs" at), meta (x +µs counts from now), envelope
-- FLAGS   -
-- RETURNS {"enqueued", now, letters}   c created, e exists
-- EMITS   enqueued
-- COST    O(items · log ready)
-- @include lib/clock
-- @include lib/number
-- @include lib/event

local KEYS, ARGV = KEYS, ARGV  -- globals are slow in a loop
local tag = ARGV[1]
local now = now_us()
local stamp = int(now)

local items = (#ARGV - 1) / 5
local places = {tag .. 'conf', tag .. 'listeners'}
for i = 1, items do
  places[2 * i + 1] = KEYS[8 + i]
  places[2 * i + 2] = tag .. 'result:' .. ARGV[5 * i - 3]
end
-- One question for all that is mostly not there: settings, listeners, jobs and tombstones of these ids.
local known = redis.call('EXISTS', unpack(places)) > 0
local paused = known and redis.call('HGET', places[1], 'paused')
local heard = known and is_heard(tag)

local ready, envelopes, metas, events, letters, seen = {}, {}, {}, {}, {}, {}
local due_now, fresh = false, 0

local function due_of(when)
  if when == '' then return stamp, true end
  local delay = string.match(when, '^%+(%d+)$')
  local due = delay and now + tonumber(delay) or tonumber(when)
  return delay and int(due) or when, due <= now
end

for i = 1, items do
  local at = 5 * i - 3
  local id, meta = ARGV[at], ARGV[at + 3]
  if seen[id] or (known and redis.call('EXISTS', places[2 * i + 1], places[2 * i + 2]) > 0) then
    letters[i] = 'e'
  else
    letters[i] = 'c'
    seen[id] = true
    fresh = fresh + 1
    local due, is_now = due_of(ARGV[at + 2])
    due_now = due_now or is_now
    local band = ready[ARGV[at + 1] + 1]
    if not band then
      band = {}
      ready[ARGV[at + 1] + 1] = band
    end
    band[#band + 1] = due
    band[#band + 1] = id
    envelopes[2 * fresh - 1] = KEYS[8 + i]
    envelopes[2 * fresh] = ARGV[at + 4]
    if meta ~= '' then
      meta = string.gsub('\n' .. meta, '\nx %+(%d+)', function(us) return '\nx ' .. int(now + tonumber(us)) end)
      metas[#metas + 1] = id
      metas[#metas + 1] = string.sub(meta, 2)
    end
    if heard then events[fresh] = {'enqueued', id, '0', 0} end
  end
end

if fresh > 0 then
  redis.call('MSET', unpack(envelopes))
  for band = 1, 4 do
    if ready[band] then redis.call('ZADD', KEYS[band], unpack(ready[band])) end
  end
  for k = 1, #metas, 2 do
    redis.call('HSET', KEYS[6], metas[k], metas[k + 1])
    local expires = string.match('\n' .. metas[k + 1], '\nx (%d+)')
    if expires then redis.call('ZADD', KEYS[7], expires, metas[k]) end
  end
  redis.call('HINCRBY', KEYS[8], 'enqueued', fresh)
  if due_now and not paused then redis.call('ZADD', KEYS[5], 0, 'w') end
end

if heard then emit(tag, now, events) end
return {'enqueued', stamp, table.concat(letters)}
