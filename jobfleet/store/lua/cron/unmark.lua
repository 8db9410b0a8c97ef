-- unmark: delete the mark of a cron entry that was removed.
--
-- KEYS    1 fired       hash    cron entry → last handled fire, and its job
-- ARGV    1 entry       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"unmarked", count}
-- EMITS   -
-- COST    O(1)

return {'unmarked', redis.call('HDEL', KEYS[1], ARGV[1])}
