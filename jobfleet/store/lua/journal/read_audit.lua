-- read_audit: a page of the audit.
--
-- KEYS    1 audit       stream  actions of operators
-- ARGV    1 newest      int     1: from the newest to the oldest; 0: from the oldest
--         2 first       text    where the page begins, as XRANGE takes it
--         3 last        text    where the records end
--         4 limit       int     maximum number of records
-- FLAGS   no-writes
-- RETURNS {"audit", {{position, fields}, …}}
-- EMITS   -
-- COST    O(limit)

local newest, first, last, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if newest == '1' then return {'audit', redis.call('XREVRANGE', KEYS[1], first, last, 'COUNT', limit)} end

return {'audit', redis.call('XRANGE', KEYS[1], first, last, 'COUNT', limit)}
