-- keep: store the result of a running job's step, so that a later run does not repeat it.
--
-- KEYS    1 runs        hash    id → run
--         2 steps:<id>  hash    step → encoded result; bytes of all under the empty name
--         3 meta        hash    id → clear record
-- ARGV    1 id          text    job id
--         2 token       int     the run
--         3 ttl         int     ms for which the steps are kept after the end of the job
--         4 most        int     maximum number of steps per job
--         5 most_bytes  int     maximum number of bytes per job
--         6 step        text    its name
--         7 record      text    encoded result
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"kept"} | {"full"} | {"lost"}
-- EMITS   -
-- COST    O(1)
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/job/keep_open

local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local step, record = ARGV[6], ARGV[7]

local run = redis.call('HGET', KEYS[1], ARGV[1])
if not run or run_token(run) ~= ARGV[2] then return {'lost'} end
local bytes, old = unpack(redis.call('HMGET', KEYS[2], '', step))
local held = tonumber(bytes or '0') + #record - (old and #old or 0)
local count = redis.call('HLEN', KEYS[2]) - (bytes and 1 or 0) + (old and 0 or 1)
if count > most or held > most_bytes then return {'full'} end

keep_open(KEYS[3], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], step, record, '', int(held))
outlive(KEYS[2])

return {'kept'}
