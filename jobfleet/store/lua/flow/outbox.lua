-- outbox: the endings that are still to be told to those who wait for them, the oldest first.
--
-- KEYS    1 outbox      stream  settled parents
-- ARGV    1 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"outbox", {entry, id}, …}
-- EMITS   -
-- COST    O(limit)

local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])

local reply = {'outbox'}
for i = 1, #found do reply[i + 1] = {found[i][1], found[i][2][1] == 'id' and found[i][2][2] or ''} end
return reply
