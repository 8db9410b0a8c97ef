-- extend_flow: note which jobs one of a flow's jobs adds to it, and how far that has come.
--
-- KEYS    1 flow:<id>   string  its jobs and whom each waits for
--         2 flow-more:<id> hash addition → how far it has come, and what it is; under the empty name how many jobs in all
-- ARGV    1 addition    text    its name
--         2 stage       int     1 begun, 2 all its jobs are written, 3 all is done
--         3 count       int     its jobs
--         4 most        int     jobs that may be added to a flow
--         5 ttl         int     ms both are kept from now on
--         6 record      bytes   the addition
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"extended", now, stage, record} | {"unknown"} | {"full", count}
--         stage: how far it had come before, 0 for one that is new; record: what was kept of it
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
