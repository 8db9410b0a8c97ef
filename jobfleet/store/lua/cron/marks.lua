-- marks: the last handled fire of some cron entries.
--
-- KEYS    1 fired       hash    cron entry → last handled fire, and its job
-- ARGV    1..* entry    text    its name; at most 50
-- FLAGS   no-writes
-- RETURNS {"marks", {mark, …}}   "µs id", empty if there is none
-- EMITS   -
-- COST    O(entries)

local marks = redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #ARGV do marks[i] = marks[i] or '' end

return {'marks', marks}
