-- mark: write once, so that a wait for replicas or for the disk covers everything that was written before.
--
-- KEYS    1 barrier     string  mark of the last durable write
-- FLAGS   allow-oom
-- RETURNS {"marked", replid}   replid: the replication id of this server; empty without permission
-- EMITS   -
-- COST    O(1)

local info = redis.pcall('INFO', 'replication')
local replid = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''

redis.call('SET', KEYS[1], '1', 'PX', 60000)

return {'marked', replid}
