-- outbox: the endings of which dependants are still to be notified, oldest first.
--
-- KEYS    1 outbox      stream  endings of jobs with dependants
-- ARGV    1 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"outbox", {entry, id}, …}
-- EMITS   -
-- COST    O(limit)

local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])

local reply = {'outbox'}
for i = 1, #found do reply[i + 1] = {found[i][1], found[i][2][1] == 'id' and found[i][2][2] or ''} end
return reply
