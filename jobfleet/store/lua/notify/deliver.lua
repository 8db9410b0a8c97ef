-- deliver: finish a delivery that was taken, or delay its next attempt.
--
-- KEYS    1 notify:<channel>:due  zset  deliveries by the time of the next attempt
--         2 notify:<channel>:held hash  delivery → attempts and content
-- ARGV    1 delivery    text    which
--         2 attempt     int     the attempt that ended; for an earlier one only success counts
--         3 delay       int     µs until the next one; -1 to finish
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
