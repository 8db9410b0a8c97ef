-- beat: a worker's heartbeat with its account; workers that are long gone are deleted.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
--         2 worker:<id> string  account of the worker
--         3 functions   hash    function → queue and options
--         4 queues      hash    queue → home lanes, lanes
-- ARGV    1 worker      text    its id
--         2 gone        int     µs after which a silent worker counts as gone
--         3 account     text    msgpack
--         4 functions   int     number of functions to publish that follow
--         5 serves      int     number of served queues that follow
--         6..* rest     text    name and record of each function; names of queues; queue and lanes of each to restore
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"beat", now, present, {lanes, …}, before}   present: number of workers; lanes of each queue that it
--         serves, empty if there is no such queue; before: the previous account, empty if there was none
-- EMITS   -
-- COST    O(log workers + queues that it serves)
-- @include lib/base/clock
-- @include lib/base/number

local worker, gone, account = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local published = 5 + 2 * tonumber(ARGV[4])
local served = published + tonumber(ARGV[5])
local now = now_us()
local before = redis.pcall('GET', KEYS[2])
if type(before) ~= 'string' then before = '' end

local functions, queues = {}, {}
for i = 6, published do functions[#functions + 1] = ARGV[i] end
for i = published + 1, served do queues[#queues + 1] = ARGV[i] end

redis.call('ZADD', KEYS[1], int(now), worker)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - 10 * gone))
redis.call('SET', KEYS[2], account, 'PX', int(gone / 100))
if #functions > 0 then redis.call('HSET', KEYS[3], unpack(functions)) end
-- A queue that was opened meanwhile keeps its lanes.
for i = served + 1, #ARGV, 2 do redis.call('HSETNX', KEYS[4], ARGV[i], ARGV[i + 1]) end

-- Only the served queues: all queues may be too many for each heartbeat of each worker.
local lanes = #queues > 0 and redis.call('HMGET', KEYS[4], unpack(queues)) or {}
for i = 1, #queues do lanes[i] = lanes[i] or '' end

return {'beat', int(now), redis.call('ZCOUNT', KEYS[1], int(now - gone), '+inf'), lanes, before}
