-- groups: a page of the groups of dead letters, those with the newest letters first; or some groups by fingerprint.
--
-- KEYS    1 dead-groups zset    fingerprints by the time of the last letter (µs)
-- READS   dead-group:<fp> hash  the group: state, times, function, error
-- ARGV    1 tag         text    the fleet's prefix
--         2 upto        text    time of the last letter (µs) as a bound; +inf for the newest
--         3 skip        int     number of groups with that time to skip
--         4 limit       int     1..50
--         5 fp          text    only this group; empty for all
-- FLAGS   no-writes
-- RETURNS {"groups", now, {fp, last, {field, value, …}}, …}   a key of a wrong type is in the field "unreadable"
-- EMITS   -
-- COST    O(limit · log n)
-- @include lib/base/clock
-- @include lib/base/number

local tag, upto, skip, limit, fp = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local found
if fp ~= '' then
  local last = redis.call('ZSCORE', KEYS[1], fp)
  found = last and {fp, last} or {}
else
  found = redis.call('ZREVRANGEBYSCORE', KEYS[1], upto, '-inf', 'WITHSCORES', 'LIMIT', skip, limit)
end
local reply = {'groups', int(now_us())}
for i = 1, #found, 2 do
  local fields = redis.pcall('HGETALL', tag .. 'dead-group:' .. found[i])  -- a damaged one must not hide the others
  if fields.err then fields = {'unreadable', 'dead-group:' .. found[i]} end
  reply[#reply + 1] = {found[i], int(tonumber(found[i + 1])), fields}
end
return reply
