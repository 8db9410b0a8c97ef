-- extend_flow: record the jobs that one of a flow's jobs adds to it, and the stage of this addition.
--
-- KEYS    1 flow:<id>   string  its jobs and the parents of each
--         2 flow-more:<id> hash addition → stage and record; under the empty name the total number of jobs
-- ARGV    1 addition    text    its name
--         2 stage       int     1 begun, 2 all its jobs are written, 3 complete
--         3 count       int     its jobs
--         4 most        int     maximum number of jobs that may be added to a flow
--         5 ttl         int     new lifetime of both in ms
--         6 record      bytes   the addition
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"extended", now, stage, record} | {"unknown"} | {"full", count}
--         stage: the previous stage, 0 for a new one; record: the previous record
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local name, stage, count, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[5]
local now = now_us()

if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown'} end
local had = redis.call('HGET', KEYS[2], name)
local before, record = 0, ''
if had then before, record = tonumber(string.sub(had, 1, 1)), string.sub(had, 2) end
local all = tonumber(redis.call('HGET', KEYS[2], '') or '0')
if not had and all + count > tonumber(ARGV[4]) then return {'full', all} end

if stage > before then
  redis.call('HSET', KEYS[2], name, int(stage) .. ARGV[6])
  if not had then redis.call('HINCRBY', KEYS[2], '', count) end
end
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)

return {'extended', int(now), before, record}
