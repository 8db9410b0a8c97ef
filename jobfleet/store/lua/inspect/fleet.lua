-- fleet: the queues, workers and functions of the fleet.
--
-- KEYS    1 queues      hash    queue → home lanes, lanes
-- READS   workers       zset    worker ids by last beat (µs)
--         worker:<id>   string  account of the worker
--         functions     hash    function → queue and options
--         conf          hash    functions that are paused in every queue
-- ARGV    1 tag         text    the fleet's prefix
--         2 most        int     maximum number of listed queues; if there are more, none is: `queues` reads pages
-- FLAGS   no-writes
-- RETURNS {"fleet", now, {queue, lanes, …}, {worker, beat, account, …}, {function, record, …}, paused, count}
--         count: number of queues
-- EMITS   -
-- COST    O(most + workers + functions)
-- @include lib/base/clock
-- @include lib/base/number

local tag, most = ARGV[1], tonumber(ARGV[2])
local beats = redis.call('ZREVRANGE', tag .. 'workers', 0, 999, 'WITHSCORES')
local workers = {}
for i = 1, #beats, 2 do
  workers[#workers + 1] = beats[i]
  workers[#workers + 1] = beats[i + 1]
  workers[#workers + 1] = redis.call('MGET', tag .. 'worker:' .. beats[i])[1] or ''
end

local functions = redis.call('HGETALL', tag .. 'functions')
local paused = redis.call('HGET', tag .. 'conf', 'functions') or ''

local count = redis.call('HLEN', KEYS[1])
local queues = count <= most and redis.call('HGETALL', KEYS[1]) or {}

return {'fleet', int(now_us()), queues, workers, functions, paused, count}
