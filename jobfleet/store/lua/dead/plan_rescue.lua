-- plan_rescue: record which letters a rescue replays next, before any of them is replayed.
--
-- KEYS    1 rescue:<rescue> hash the rescue: state, plan, counts
--         2 rescue-jobs:<rescue> zset id and entry of its jobs in flight, by the last look (µs); 0 before the first one
-- ARGV    1 step        int     number of plans before, as the caller has seen it
--         2 stage       int     the stage after this plan
--         3 cursor      text    place of the last planned letter
--         4 last        int     time of this plan, for the rate (µs)
--         5 is_read     int     1 if the group has no more letters
--         6 ttl         int     ms for which the jobs are kept
--         7..* job      text    id and entry; at most 200
-- FLAGS   -
-- RETURNS {"planned", n} | {"passed"}   passed: it does not run, or another caller has planned meanwhile
-- EMITS   -
-- COST    O(jobs · log n)
-- @include lib/base/number

local row = redis.call('HMGET', KEYS[1], 'state', 'step', 'cursor')
if row[1] ~= 'running' or row[2] ~= ARGV[1] then return {'passed'} end
redis.call('ZCARD', KEYS[2])

local scored = {}
for i = 7, #ARGV do scored[#scored + 1], scored[#scored + 2] = 0, ARGV[i] end
local added = #scored > 0 and redis.call('ZADD', KEYS[2], 'NX', unpack(scored)) or 0
if #scored > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[6]) end
redis.call('HSET', KEYS[1], 'stage', ARGV[2], 'cursor', ARGV[3], 'last', ARGV[4], 'is_read', ARGV[5], 'step',
  int(tonumber(ARGV[1]) + 1))
redis.call('HINCRBY', KEYS[1], 'planned', added)
return {'planned', added}
