-- know: a worker publishes the kind of its children, which know the same functions and serve the same queues.
--
-- KEYS    1 kinds       zset    kinds by last beat (µs)
--         2 kind:<kind> hash    function → its queue; "" → the queues that the kind serves
--         3 knowers:<kind> zset its workers by last beat (µs)
-- ARGV    1 worker      text    its id
--         2 kind        text    of its children
--         3 gone        int     µs after which a silent worker counts as gone
--         4 channel     text    the channel of the supervisors
--         5..* function text    name and queue, alternating; none if the kind was published before
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"known", now, is_new, {kind, …}, mended}   is_new: the functions of the kind are unknown; the kinds of live workers
--         mended: number of keys that held something else and were deleted; each worker writes them again
-- EMITS   -
-- COST    O(log workers + kinds + functions)
-- @include lib/base/clock
-- @include lib/base/number

local MOST = 200
local worker, kind, gone = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_us()
local fields, since = {}, int(now - gone)
for i = 5, #ARGV do fields[i - 4] = ARGV[i] end

local mended = 0
for place = 1, 3 do
  local size = place == 2 and redis.pcall('HLEN', KEYS[2]) or redis.pcall('ZCARD', KEYS[place])
  if type(size) == 'table' then
    redis.call('UNLINK', KEYS[place])
    mended = mended + 1
  end
end

local is_known = redis.call('EXISTS', KEYS[2]) == 1
redis.call('ZADD', KEYS[3], int(now), worker)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. since)
redis.call('PEXPIRE', KEYS[3], int(gone / 100))
if is_known or #fields > 0 then
  if not is_known then redis.call('HSET', KEYS[2], unpack(fields)) end
  redis.call('PEXPIRE', KEYS[2], int(gone / 100))
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. since)
  -- Other workers learn of a new kind at once: they leave its jobs to it from then on.
  if redis.call('ZADD', KEYS[1], int(now), kind) == 1 then redis.call('PUBLISH', ARGV[4], 'kinds') end
end

local kinds = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'LIMIT', 0, MOST)
return {'known', int(now), (is_known or #fields > 0) and 0 or 1, kinds, mended}
