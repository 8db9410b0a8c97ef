-- command: send an operator's command to a worker's supervisor.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
-- ARGV    1 worker      text    its id
--         2 channel     text    the channel of operators' commands
--         3 message     text    a line
--         4 former      text    the channel on which supervisors of the former revision hear commands
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"told"} | {"unknown"}   unknown: no such worker was heard of lately
-- EMITS   -
-- COST    O(1)

local worker, channel, message, former = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local known = redis.call('ZSCORE', KEYS[1], worker)

if not known then return {'unknown'} end

-- First on the new channel: then a supervisor that listens on both knows the command when it comes again.
redis.call('PUBLISH', channel, message)
redis.call('PUBLISH', former, message)

return {'told'}
