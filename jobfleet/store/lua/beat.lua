-- beat: a worker says that it lives, and what it does; the long gone are let go.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
--         2 worker:<id> string  its account of itself
--         3 functions   hash    function → queue and options
--         4 queues      hash    queue → home lanes, lanes
-- ARGV    1 worker      text    its id
--         2 gone        int     µs after which a silent worker counts as gone
--         3 account     text    msgpack
--         4..* function text    name and record, in turn, to publish
-- FLAGS   allow-oom
-- RETURNS {"beat", now, present, {queue, lanes, …}}   present: how many workers are
-- EMITS   -
-- COST    O(log workers + queues)
-- @include lib/clock
-- @include lib/number

local worker, gone, account = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now = now_us()

local functions = {}
for i = 4, #ARGV do functions[i - 3] = ARGV[i] end

redis.call('ZADD', KEYS[1], int(now), worker)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - 10 * gone))
redis.call('SET', KEYS[2], account, 'PX', int(gone / 100))
if #functions > 0 then redis.call('HSET', KEYS[3], unpack(functions)) end

return {'beat', int(now), redis.call('ZCOUNT', KEYS[1], int(now - gone), '+inf'), redis.call('HGETALL', KEYS[4])}
