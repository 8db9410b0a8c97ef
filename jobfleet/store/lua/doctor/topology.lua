-- topology: the nodes of the cluster, as the node of the fleet's keys sees them.
--
-- KEYS    1 queues      hash    names the slot
-- FLAGS   no-writes
-- RETURNS {"topology", shards}   shards: CLUSTER SHARDS; empty if this is not a cluster, or without permission
-- EMITS   -
-- COST    O(nodes)

local shards = redis.pcall('CLUSTER', 'SHARDS')
if shards.err then shards = {} end

return {'topology', shards}
