-- unmark: delete the mark of a cron entry that was removed, unless an entry that was added since has moved it.
--
-- KEYS    1 fired       hash    cron entry → last handled fire, and its job
-- ARGV    1 entry       text    its name
--         2 until       int     µs; the mark of a later fire stays; empty for any
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"unmarked", count}
-- EMITS   -
-- COST    O(1)

-- HMGET, which all Redis users of the former revision that may delete marks may call, too.
local at = string.match(redis.call('HMGET', KEYS[1], ARGV[1])[1] or '', '^%d+')
if at and ARGV[2] ~= '' and tonumber(at) > tonumber(ARGV[2]) then return {'unmarked', 0} end

return {'unmarked', redis.call('HDEL', KEYS[1], ARGV[1])}
