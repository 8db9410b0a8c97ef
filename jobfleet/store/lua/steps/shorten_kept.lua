-- shorten_kept: end the long lifetimes of what a running job has kept for a wait; sent before the job completes.
--
-- KEYS    1 runs        hash    id → run
--         2 steps:<id>  hash    step → encoded result; bytes of all under the empty name
--         3 log:<id>    list    last lines of its log
--         4 chunks:<id> stream  its output
--         5 parents:<id> hash   its parents, and the ending of each
-- ARGV    1 id          text    job id
--         2 token       int     the run
--         3 ttl         int     ms
-- FLAGS   allow-oom
-- RETURNS {"kept"} | {"lost"}
-- EMITS   -
-- COST    O(1)
-- @include lib/job/run

local ttl = tonumber(ARGV[3])

local run = redis.call('HGET', KEYS[1], ARGV[1])
if not run or run_token(run) ~= ARGV[2] then return {'lost'} end

for i = 2, 5 do
  if redis.call('PTTL', KEYS[i]) > ttl then redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
end

return {'kept'}
