-- watch: have it said when a job ends, to jobs that wait for it; or say how it has ended.
--
-- KEYS    1 watched     hash    ids that dependants wait for
--         2 dependants:<id> zset who waits for it, by the last ending they were told of (ms)
-- READS   job:<id>      string  envelope
--         result:<id>   string  how it ended
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3..* child    text    id of one that waits; at most 50
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
