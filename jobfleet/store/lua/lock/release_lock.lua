-- release_lock: free the place of a holder, and notify those that wait.
--
-- KEYS    1 lock:<name> zset    holders by their fencing token; a holder is: token, number, job id
-- ARGV    1 holder      text    whose place it is
--         2 channel     text    the channel of those that wait for the lock
-- FLAGS   allow-oom
-- RETURNS {"released", count}   count: 0 if it held none
-- EMITS   -
-- COST    O(log limit)

local count = redis.call('ZREM', KEYS[1], ARGV[1])

if count > 0 then redis.call('PUBLISH', ARGV[2], 'free') end

return {'released', count}
