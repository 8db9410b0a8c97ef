-- unregister: remove a consumer group from a lane's journal; the journal is deleted with its last group.
--
-- KEYS    1 conf        hash    paused, journal
--         2 journal     stream  lifecycle events
--         3 totals      hash    counts
-- ARGV    1 group       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"unregistered", known}   known is 0 if there was no such group
-- EMITS   -
-- COST    O(groups)
-- @include lib/base/number
-- @include lib/events/consumer_groups

local group = ARGV[1]
local groups = consumer_groups(KEYS[2])
local known, others = groups[group] ~= nil, false
local last = tonumber(redis.call('HGET', KEYS[3], 'journal') or '0')
for name in pairs(groups) do others = others or name ~= group end

if known then redis.call('XGROUP', 'DESTROY', KEYS[2], group) end
if not others then
  redis.call('UNLINK', KEYS[2])
  redis.call('HDEL', KEYS[1], 'journal')
  if last > 0 then redis.call('HSET', KEYS[3], 'journal_low', int(last)) end
end

return {'unregistered', known and 1 or 0}
