-- schedule: store a cron entry under its name; another entry of that name is replaced.
--
-- KEYS    1 cron        hash    entry → since (µs), fingerprint, record
--         2 cron-times  hash    entry → since (µs), times
-- ARGV    1 entry       text    its name
--         2 fingerprint text    of its schedule; a change resets its progress mark
--         3 mode        text    put, or add to refuse an existing entry with another record
--         4 record      bytes   the entry
--         5 most        int     maximum number of entries
--         6 back        int     µs before now from which a new schedule counts
--         7 times       bytes   when it fires, and where; nothing of its call
-- FLAGS   -
-- GUARDS  deadline once
-- RETURNS {"scheduled", now, word}   added, changed, unchanged, taken, full
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local entry, fingerprint, mode, record = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = now_us()

local known = redis.call('HGET', KEYS[1], entry)
local since, print, kept = string.match(known or '', '^(%d+) (%w+)\n(.*)$')
if kept == record then return {'scheduled', int(now), 'unchanged'} end
if known and mode == 'add' then return {'scheduled', int(now), 'taken'} end
if not known and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return {'scheduled', int(now), 'full'} end
if print ~= fingerprint then since = int(now - tonumber(ARGV[6])) end

redis.call('HSET', KEYS[1], entry, since .. ' ' .. fingerprint .. '\n' .. record)
redis.call('HSET', KEYS[2], entry, since .. '\n' .. ARGV[7])

return {'scheduled', int(now), known and 'changed' or 'added'}
