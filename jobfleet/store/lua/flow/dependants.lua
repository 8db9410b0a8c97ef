-- dependants: some dependants of a job that were not notified of its last ending, and that ending.
--
-- KEYS    1 dependants:<id> zset dependants by the last ending of which they were notified (ms)
-- READS   result:<id>   string  its ending
--         dead          hash    id → entry in dlq
--         job:<id>      string  envelope, if it is open again
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 ending      int     ms of the ending
-- FLAGS   no-writes
-- RETURNS {"dependants", state, result, {child, …}}   state: ended, dead, open (it was replayed) or gone
-- EMITS   -
-- COST    O(log n)

local tag, id = ARGV[1], ARGV[2]

local result = redis.call('GET', tag .. 'result:' .. id)
local state = 'ended'
if not result then
  if redis.call('HEXISTS', tag .. 'dead', id) == 1 then
    state = 'dead'
  else
    state = redis.call('EXISTS', tag .. 'job:' .. id) == 1 and 'open' or 'gone'
  end
end
local children = {}
if state ~= 'open' then children = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3], 'LIMIT', 0, 50) end

return {'dependants', state, result or '', children}
