-- beat: a worker says that it lives, and what it does; the long gone are let go.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
--         2 worker:<id> string  its account of itself
--         3 functions   hash    function → queue and options
--         4 queues      hash    queue → home lanes, lanes
-- ARGV    1 worker      text    its id
--         2 gone        int     µs after which a silent worker counts as gone
--         3 account     text    msgpack
--         4 count       int     how many functions follow
--         5..* row      text    name and record of each function to publish; then queue and lanes of each queue to restore
-- FLAGS   allow-oom
-- RETURNS {"beat", now, present, {queue, lanes, …}, before}   present: how many workers are; before: the account that
--         stood until now, empty where none did
-- EMITS   -
-- COST    O(log workers + queues)
-- @include lib/clock
-- @include lib/number

local worker, gone, account, last = ARGV[1], tonumber(ARGV[2]), ARGV[3], 4 + 2 * tonumber(ARGV[4])
local now = now_us()
local before = redis.pcall('GET', KEYS[2])
if type(before) ~= 'string' then before = '' end

local functions = {}
for i = 5, last do functions[i - 4] = ARGV[i] end

redis.call('ZADD', KEYS[1], int(now), worker)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - 10 * gone))
redis.call('SET', KEYS[2], account, 'PX', int(gone / 100))
if #functions > 0 then redis.call('HSET', KEYS[3], unpack(functions)) end
-- A queue that somebody has opened meanwhile keeps its lanes.
for i = last + 1, #ARGV, 2 do redis.call('HSETNX', KEYS[4], ARGV[i], ARGV[i + 1]) end

return {'beat', int(now), redis.call('ZCOUNT', KEYS[1], int(now - gone), '+inf'), redis.call('HGETALL', KEYS[4]), before}
