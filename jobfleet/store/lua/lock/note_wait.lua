-- note_wait: note for which lock a running job waits, or delete its note.
--
-- KEYS    1 lock-wait:<id> string its holder, since (µs), number of places and name of the lock, a line each
-- ARGV    1 holder      text    who waits
--         2 waited      int     µs since it began to wait
--         3 limit       int     number of places
--         4 name        text    of the lock
--         5 ttl         int     ms for which the note is kept; 0 to delete it
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"noted"}
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local holder, ttl = ARGV[1], ARGV[5]
local known = redis.call('GET', KEYS[1]) or ''
local since = int(now_us() - tonumber(ARGV[2]))

if ttl ~= '0' then
  redis.call('SET', KEYS[1], holder .. '\n' .. since .. '\n' .. ARGV[3] .. '\n' .. ARGV[4], 'PX', ttl)
elseif string.match(known, '^[^\n]*') == holder then
  redis.call('UNLINK', KEYS[1])
end

return {'noted'}
