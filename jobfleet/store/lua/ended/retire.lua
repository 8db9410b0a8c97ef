-- retire: delete the records of ended jobs before their TTL. While the id of a job may come again, its ending stays; of a
-- failed job with its record, because in a fleet with keys nothing else shows that it has failed.
--
-- KEYS    1 index:<name> zset   ids by enqueue time (µs)
--     2..* result:<id> string seven keys per item: result:<id>, value:<id>, progress:<id>, reported:<id>, log:<id>, steps:<id>, chunks:<id>
-- READS   job:<id>      string  envelope of an open job
--         dead          hash    id → entry in dlq
--         dependants:<id> zset  dependants that wait for its ending, or read its record when they run
-- ARGV    1 tag         text    the lane's prefix
--         2 before      int     µs since 1970; only jobs that ended before
--         3..* item     text    two per item: id, ms for which the id is remembered after its ending; at most 50
-- FLAGS   allow-oom
-- RETURNS {"retired", letters}   r removed, l only its line is left, s it stays
-- EMITS   -
-- COST    O(items · log n), and the lines and steps of those that are removed
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/ending/line

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local tag, before = ARGV[1], tonumber(ARGV[2])
local now = now_us()

local items, letters = {}, {}
for i = 1, (#ARGV - 2) / 2 do
  local id, remembered = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  local key = KEYS[7 * i - 5]
  local line, at = line_of(key)
  letters[i] = 's'
  if line and at < before and redis.call('EXISTS', tag .. 'job:' .. id, tag .. 'dependants:' .. id) == 0
    and redis.call('HEXISTS', tag .. 'dead', id) == 0 then
    local left, ttl = remembered - math.floor((now - at) / 1000), redis.call('PTTL', key)
    if ttl >= 0 then left = math.min(left, ttl) end
    letters[i] = left > 0 and 'l' or 'r'
    items[#items + 1] = {place = 7 * i - 5, id = id, line = line, left = left}
  end
end

for n = 1, #items do
  local item = items[n]
  if item.left > 0 then
    local is_failed = string.sub(item.line, 1, 7) == 'failed '
    local kept = is_failed and redis.call('GETRANGE', KEYS[item.place], 0, -1) or item.line .. '\n'
    redis.call('SET', KEYS[item.place], kept, 'PX', int(item.left))
  end
  redis.call('UNLINK', unpack(KEYS, item.left > 0 and item.place + 1 or item.place, item.place + 6))
  redis.call('ZREM', KEYS[1], item.id)
end

return {'retired', table.concat(letters)}
