-- command: send an operator's command to a worker's supervisor.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
-- ARGV    1 worker      text    its id
--         2 control     text    the channel of the supervisors
--         3 message     text    a line
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"told"} | {"unknown"}   unknown: no such worker was heard of lately
-- EMITS   -
-- COST    O(1)

local worker, control, message = ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('ZSCORE', KEYS[1], worker)

if not known then return {'unknown'} end

redis.call('PUBLISH', control, message)

return {'told'}
