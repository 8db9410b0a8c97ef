-- watch: register dependants of a job, or return its ending.
--
-- KEYS    1 watched     hash    ids of jobs with dependants
--         2 dependants:<id> zset dependants by the last ending of which they were notified (ms)
-- READS   job:<id>      string  envelope
--         result:<id>   string  its ending
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3..* child    text    id of a dependant; at most 50
-- FLAGS   allow-oom
-- RETURNS {"watched"} | {"ended", result} | {"dead"} | {"unknown"}
-- EMITS   -
-- COST    O(children)

local tag, id = ARGV[1], ARGV[2]

local result = redis.call('GET', tag .. 'result:' .. id)
if result then return {'ended', result} end
if redis.call('EXISTS', tag .. 'job:' .. id) == 0 then
  return {redis.call('HEXISTS', tag .. 'dead', id) == 1 and 'dead' or 'unknown'}
end

local members = {}
for i = 3, #ARGV do
  members[#members + 1] = 0
  members[#members + 1] = ARGV[i]
end
redis.call('ZADD', KEYS[2], 'NX', unpack(members))
redis.call('HSET', KEYS[1], id, 1)

return {'watched'}
