-- memory: the memory use of the server, and its limit.
--
-- KEYS    1 queues      hash    names the slot
-- FLAGS   no-writes
-- RETURNS {"memory", used, max}   bytes; max is 0 without a limit
-- EMITS   -
-- COST    O(1)

local info = redis.pcall('INFO', 'memory')
if type(info) ~= 'string' then info = '' end

return {'memory', string.match(info, '\nused_memory:(%d+)') or '0', string.match(info, '\nmaxmemory:(%d+)') or '0'}
