-- precede: give jobs of a strict sequence places before the jobs that have come to wait for them.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 meta        hash    id → clear record
--         7 grouped     zset    waiting jobs of groups
--         8 gdue        zset    groups by the time of the next check of their turn (µs)
-- READS   parents:<id>  hash    number of open parents of the jobs
--         conf          hash    paused
-- ARGV    1 tag         text    the lane's prefix
--         2 starts      int     1 if one of the jobs may become the head now, in place of a head that is blocked
--         3 count       int     number of dependants, at most 50
--         4..* id       text    the dependants, then the jobs, at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"preceded", moved}   number of jobs with another place; a job stays where it is if it is in another sequence than
--         the dependants, runs, waits as the head, or waits behind a failed head that fails the rest
-- EMITS   -
-- COST    O(dependants + jobs · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/group/stand_with

local tag, starts, count = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local now = now_us()

local function blocked_band(id)
  for band = 0, 3 do
    if is_blocked(redis.call('ZSCORE', KEYS[band + 1], id)) then return band end
  end
  return nil
end

-- The first place of the dependants, by sequence.
local first = {}
for i = 4, 3 + count do
  local meta = redis.call('HGET', KEYS[6], ARGV[i]) or ''
  local group, place = meta_field(meta, 'g'), tonumber((place_of(meta)))
  if group and place and is_strict(meta) and (not first[group] or place < first[group]) then first[group] = place end
end

local rows, seen = {}, {}
for i = 4 + count, #ARGV do
  local id = ARGV[i]
  local meta = redis.call('HGET', KEYS[6], id) or ''
  local group, place, band = meta_field(meta, 'g'), tonumber((place_of(meta))), blocked_band(id)
  -- Behind a failed head that fails the rest, a place before the mark would fail the job too.
  local is_meant = group and place and band and is_strict(meta) and (count == 0 or first[group])
  if is_meant and not seen[id] and not first_in(KEYS[7], 'f', group) then
    local open = tonumber(redis.call('HGET', tag .. 'parents:' .. id, ':open') or '0') or 1
    rows[#rows + 1] = {id = id, meta = meta, group = group, place = place, band = band, open = open}
    seen[id] = true
  end
end
table.sort(rows, function(one, other) return one.place > other.place end)  -- the last comes directly before them
local paused = redis.call('HGET', tag .. 'conf', 'paused')

local moved = 0
for i = 1, #rows do
  local row = rows[i]
  local place = (first[row.group] or math.huge) - 1
  if row.place > place and place >= 0 then
    row.meta = string.gsub(row.meta, '\nn %d+', '\nn ' .. int(place))
    redis.call('ZADD', KEYS[7], '0', sequence_entry('s', row.group, place, row.id))
    redis.call('HSET', KEYS[6], row.id, row.meta)
    redis.call('ZREM', KEYS[7], sequence_entry('s', row.group, row.place, row.id))
    first[row.group], moved = place, moved + 1
  end
end

local lane, woken = {grouped = KEYS[7], gdue = KEYS[8], meta = KEYS[6], tag = tag, now = now}, false
for i = starts and #rows or 0, 1, -1 do
  local row = rows[i]
  if row.open == 0 then
    local _, due = place_of(row.meta)
    due = due or now
    local is_free = stand_with(KEYS[row.band + 1], lane, row.meta, row.band, due, row.id)
    woken = woken or is_free and due <= now
  end
end
if woken and not paused then redis.call('ZADD', KEYS[5], 0, 'w') end

return {'preceded', moved}
