-- reschedule: give waiting jobs another due time, another priority, or both.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 journal     stream  lifecycle events
--         7 grouped     zset    waiting jobs of groups
--         8 ring        zset    groups by their turn
--         9 gdue        zset    groups by the time of the next check of their turn (µs)
--         10 totals     hash    counts
-- READS   meta          hash    id → clear record
--         runs          hash    id → run
--         tries         hash    id → tries
--         result:<id>   string  its ending
--         dead          hash    id → entry in dlq
--         conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 who         text    requester; - if unknown
--         3 when        text    "" unchanged, "+µs" from now, "µs" at
--         4 band        text    "" unchanged, or 0..3
--         5..* id       text    job id; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"rescheduled", now, letters}   s rescheduled, r running, f final, u unknown, b blocked:
--         only its priority can be changed
-- EMITS   rescheduled
-- COST    O(items · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/job/unique
-- @include lib/ending/batch
-- @include lib/waiting/score

local tag, who, when, band = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], wake = KEYS[5], journal = KEYS[6],
  grouped = KEYS[7], ring = KEYS[8], gdue = KEYS[9], totals = KEYS[10],
}
local now = now_us()

local function due_of(due)
  local delay = string.match(when, '^%+(%d+)$')
  return delay and now + tonumber(delay) or tonumber(when) or due
end

local function place_of(id)
  for number = 0, 3 do
    local score = redis.call('ZSCORE', keys['ready' .. number], id)
    if score then
      local meta = redis.call('HGET', tag .. 'meta', id) or nil
      return {id = id, band = number, due = ungrouped(score), score = score, meta = meta}
    end
  end
  return nil
end

local places, letters, seen = {}, {}, {}
for i = 1, #ARGV - 4 do
  local id = ARGV[4 + i]
  local place = place_of(id)
  places[i] = not seen[id] and place
  seen[id] = true
  if place then
    letters[i] = is_blocked(place.due) and when ~= '' and 'b' or 's'
    place.to, place.at = band == '' and place.band or tonumber(band), due_of(place.due)
  elseif redis.call('HEXISTS', tag .. 'runs', id) == 1 then
    letters[i] = 'r'
  elseif redis.call('EXISTS', tag .. 'result:' .. id) == 1 or redis.call('HEXISTS', tag .. 'dead', id) == 1 then
    letters[i] = 'f'
  else
    letters[i] = 'u'
  end
end
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard = is_heard(tag)

if conf[2] then  -- whether a job that waits was run before, the journal has to say
  for i = 1, #places do
    if places[i] then places[i].tries = redis.call('HGET', tag .. 'tries', places[i].id) or nil end
  end
end

local batch = new_batch(now)
batch.paused, batch.journal, batch.heard = conf[1], conf[2], heard
for i = 1, #places do
  local place = places[i]
  if place and letters[i] == 's' and (place.to ~= place.band or place.at ~= place.due) then
    if place.to ~= place.band or tonumber(place.score) < 0 then leave(batch, keys, place, place.band, place.score) end
    -- One that waits for others, or is withheld and stays so, does not stand with its group.
    stand(batch, keys, place.at < WITHHELD and place or {id = place.id}, place.to, place.at)
    local due = int(due_of_score(place.at))
    note(batch, 'rescheduled', place.id, '0', int(place.to) .. ' ' .. due .. ' ' .. who, nil, nil, place.tries)
  end
end
flush(batch, keys, tag)

return {'rescheduled', int(now), table.concat(letters)}
