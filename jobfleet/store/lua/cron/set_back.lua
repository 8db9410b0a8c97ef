-- set_back: set the mark of a cron entry back, because the clock has stepped back.
--
-- KEYS    1 fired       hash    cron entry → last handled fire, and its job
-- ARGV    1 entry       text    its name
--         2 to          int     the time (µs)
--         3 tolerance   int     µs by which a mark may be later
-- FLAGS   allow-oom
-- RETURNS {"marked", at}   the mark; the time if there is none
-- EMITS   -
-- COST    O(1)
-- @include lib/base/number

local entry, to = ARGV[1], tonumber(ARGV[2])

local at, id = string.match(redis.call('HGET', KEYS[1], entry) or '', '^(%d+) (.*)$')
if at and tonumber(at) <= to + tonumber(ARGV[3]) then return {'marked', at} end

if at then redis.call('HSET', KEYS[1], entry, int(to) .. ' ' .. id) end

return {'marked', int(to)}
