-- server: the INFO of the server.
--
-- KEYS    1 queues      hash    names the slot
-- FLAGS   no-writes
-- RETURNS {"server", now, info}   info: INFO of the server, its memory, persistence and replicas; empty without permission
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local info = redis.pcall('INFO', 'server', 'memory', 'persistence', 'replication')
if type(info) ~= 'string' then info = '' end

return {'server', int(now_us()), info}
