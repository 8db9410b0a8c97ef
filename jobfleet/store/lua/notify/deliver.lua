-- deliver: say what became of a delivery that was taken: it is done with, or is tried again after a while.
--
-- KEYS    1 notify:<channel>:due  zset  deliveries by when to try them
--         2 notify:<channel>:held hash  delivery → attempts and what it tells
-- ARGV    1 delivery    text    which
--         2 attempt     int     the attempt that ended; of an earlier one only the success counts
--         3 delay       int     µs until the next; -1 when it is done with
-- FLAGS   allow-oom
-- RETURNS {"over", count}
--         {"again", count}
-- EMITS   -
-- COST    O(log deliveries)

-- @include lib/base/clock
-- @include lib/base/number
local due, held = KEYS[1], KEYS[2]
local id, attempt, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])

if delay < 0 then
  redis.call('ZREM', due, id)
  return {'over', redis.call('HDEL', held, id)}
end

local row = redis.call('HGET', held, id)
if not row or string.match(row, '^%d+') ~= attempt then return {'again', 0} end

redis.call('ZADD', due, int(now_us() + delay), id)
return {'again', 1}
