-- dependants: some of those that wait for a job and were not told of its last ending, and how it ended.
--
-- KEYS    1 dependants:<id> zset who waits for it, by the last ending they were told of (ms)
-- READS   result:<id>   string  how it ended
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 ending      int     ms of the ending they are to be told of
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
