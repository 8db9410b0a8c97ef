-- endings: the times at which the jobs of an index ended. One page; the caller continues while more is left.
--
-- KEYS    1 index:<name> zset   ids by enqueue time (µs)
-- READS   result:<id>   string  its ending
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 skip        int     number of the oldest entries to skip
-- FLAGS   no-writes
-- RETURNS {"endings", now, count, {id, ended, …}, more}   without open jobs, dead letters and jobs that were moved or
--         replaced; count: of the whole index; more is 1 if there is a next page
-- EMITS   -
-- COST    O(50 · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/ending/line

local tag, skip = ARGV[1], tonumber(ARGV[2])

local found = redis.call('ZRANGE', KEYS[1], skip, skip + 49)
local dead = #found > 0 and redis.call('HMGET', tag .. 'dead', unpack(found)) or {}
local ended = {}
for i = 1, #found do
  local line, at = line_of(tag .. 'result:' .. found[i])
  if line and not dead[i] then
    ended[#ended + 1] = found[i]
    ended[#ended + 1] = int(at)
  end
end

return {'endings', int(now_us()), redis.call('ZCARD', KEYS[1]), ended, #found == 50 and 1 or 0}
