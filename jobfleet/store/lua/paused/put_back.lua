-- put_back: put withheld jobs back to their previous position.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 grouped     zset    waiting jobs of groups
--         7 gdue        zset    groups by the time of the next check of their turn (µs)
-- READS   meta          hash    id → clear record
--         conf          hash    paused
-- ARGV    1 tag         text    the lane's prefix
--         2..* id       text    job id; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"put-back", n}   number of withheld jobs among them
-- EMITS   -
-- COST    O(items · log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/waiting/score

local tag = ARGV[1]
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], wake = KEYS[5], grouped = KEYS[6], gdue = KEYS[7],
}
local now = now_us()

local places, seen = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  for band = 0, 3 do
    local score = redis.call('ZSCORE', keys['ready' .. band], id)
    if score and is_withheld(score) and not seen[id] then
      seen[id] = true
      places[#places + 1] = {id = id, band = band, due = due_of_score(score), meta = redis.call('HGET', tag .. 'meta', id)}
    end
  end
end
local paused = redis.call('HGET', tag .. 'conf', 'paused')

local batch = new_batch(now)
batch.paused = paused
for i = 1, #places do stand(batch, keys, places[i], places[i].band, places[i].due) end
flush(batch, keys, tag)

return {'put-back', #places}
