-- marks: which fire of each of some cron entries was dealt with last.
--
-- KEYS    1 fired       hash    cron entry → last fire that was dealt with, and its job
-- ARGV    1..* entry    text    its name; at most 50
-- FLAGS   no-writes
-- RETURNS {"marks", {mark, …}}   "µs id", empty where there is none
-- EMITS   -
-- COST    O(entries)

local marks = redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #ARGV do marks[i] = marks[i] or '' end

return {'marks', marks}
