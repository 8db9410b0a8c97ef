-- unmark: forget which fires of a cron entry were dealt with, since the entry is gone.
--
-- KEYS    1 fired       hash    cron entry → last fire that was dealt with, and its job
-- ARGV    1 entry       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"unmarked", count}
-- EMITS   -
-- COST    O(1)

return {'unmarked', redis.call('HDEL', KEYS[1], ARGV[1])}
