-- dependants: some dependants of a job that were not notified of its last ending, and that ending.
--
-- KEYS    1 dependants:<id> zset dependants by the last ending of which they were notified (ms)
-- READS   result:<id>   string  its ending
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 ending      int     ms of the ending
-- FLAGS   no-writes
-- RETURNS {"dependants", state, result, {child, …}}   state: ended, dead or gone
-- EMITS   -
-- COST    O(log n)

local tag, id = ARGV[1], ARGV[2]

local children = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3], 'LIMIT', 0, 50)
local result = redis.call('GET', tag .. 'result:' .. id)
local state = 'ended'
if not result then state = redis.call('HEXISTS', tag .. 'dead', id) == 1 and 'dead' or 'gone' end

return {'dependants', state, result or '', children}
