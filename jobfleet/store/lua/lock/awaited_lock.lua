-- awaited_lock: for which lock a running job waits, and who holds it.
--
-- KEYS    1 lock-wait:<id> string its holder, since (µs), number of places and name of the lock, a line each
-- READS   lock:<name>   zset    holders by their fencing token; a holder is: token, number, job id
-- ARGV    1 tag         text    the fleet's prefix
--         2 most        int     maximum number of holders in the reply
-- FLAGS   no-writes
-- RETURNS {"awaited", holder, since, limit, name, {holder, …}} | {"none"}   none: no note, or the job has the lock by now
-- EMITS   -
-- COST    O(most)

local note = redis.call('GET', KEYS[1]) or ''
local holder, since, limit, name = string.match(note, '^([^\n]*)\n(%d+)\n(%d+)\n(.*)$')
if not holder or redis.call('ZSCORE', ARGV[1] .. 'lock:' .. name, holder) then return {'none'} end

return {'awaited', holder, since, limit, name, redis.call('ZRANGE', ARGV[1] .. 'lock:' .. name, 0, tonumber(ARGV[2]) - 1)}
