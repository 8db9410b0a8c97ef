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

local tag = ARGV[1]
local now = now_us()

local items = (#ARGV - 1) / 5
local places, ids = {}, {}
for i = 1, items do
  local id = ARGV[5 * i - 3]
  ids[i] = id
  places[2 * i - 1] = KEYS[8 + i]
  places[2 * i] = tag .. 'result:' .. id
end
local known = redis.call('EXISTS', unpack(places)) > 0
local paused = redis.call('HGET', tag .. 'conf', 'paused')
local heard = is_heard(tag)

local letters, seen, fresh = {}, {}, {}
for i = 1, items do
  local id = ids[i]
  if seen[id] or (known and redis.call('EXISTS', places[2 * i - 1], places[2 * i]) > 0) then
    letters[i] = 'e'
  else
    letters[i] = 'c'
    seen[id] = true
    fresh[#fresh + 1] = i
  end
end

local ready, envelopes, metas, events = {{}, {}, {}, {}}, {}, {}, {}
local stamp, due_now = int(now), false
for k = 1, #fresh do
  local i = fresh[k]
  local at = 5 * i - 3
  local when, due = ARGV[at + 2], stamp
  if when == '' then
    due_now = true
  elseif string.sub(when, 1, 1) == '+' then
    local delay = tonumber(string.sub(when, 2))
    due = int(now + delay)
    if delay == 0 then due_now = true end
  else
    due = when
    if tonumber(when) <= now then due_now = true end
  end
  local band = ready[ARGV[at + 1] + 1]
  band[#band + 1] = due
  band[#band + 1] = ids[i]
  envelopes[#envelopes + 1] = KEYS[8 + i]
  envelopes[#envelopes + 1] = ARGV[at + 4]
  if ARGV[at + 3] ~= '' then
    metas[#metas + 1] = ids[i]
    local meta = string.gsub('\n' .. ARGV[at + 3], '\nx %+(%d+)', function(us) return '\nx ' .. int(now + tonumber(us)) end)
    metas[#metas + 1] = string.sub(meta, 2)
  end
  if heard then events[k] = {'enqueued', ids[i], '0', 0} end
end

if #fresh > 0 then
  redis.call('MSET', unpack(envelopes))
  for band = 1, 4 do
    if #ready[band] > 0 then redis.call('ZADD', KEYS[band], unpack(ready[band])) end
  end
  for k = 1, #metas, 2 do
    redis.call('HSET', KEYS[6], metas[k], metas[k + 1])
    local expires = string.match('\n' .. metas[k + 1], '\nx (%d+)')
    if expires then redis.call('ZADD', KEYS[7], expires, metas[k]) end
  end
  redis.call('HINCRBY', KEYS[8], 'enqueued', #fresh)
  if due_now and not paused then redis.call('ZADD', KEYS[5], 0, 'w') end
end

emit(tag, now, events)
return {'enqueued', stamp, table.concat(letters)}
