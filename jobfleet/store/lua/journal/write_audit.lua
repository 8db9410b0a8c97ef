-- write_audit: record an action of an operator; the record of its end replaces that of its beginning.
--
-- KEYS    1 audit       stream  actions of operators
-- ARGV    1 most        int     maximum number of records
--         2 began       text    position of the record of the beginning; empty if there is none
--         3 id          text    id of the action
--         4 head        bytes   who did what to what, and how it ended
--         5 body        bytes   the values before and after, maybe sealed
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"written", position}
-- EMITS   -
-- COST    O(1), and the records beyond the maximum

local most, began = ARGV[1], ARGV[2]

if began ~= '' then redis.call('XDEL', KEYS[1], began) end
local position = redis.call('XADD', KEYS[1], 'MAXLEN', most, '*', 'id', ARGV[3], 'head', ARGV[4], 'body', ARGV[5])

return {'written', position}
