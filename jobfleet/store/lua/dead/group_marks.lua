-- group_marks: which groups of dead letters are ignored, and which of them came back after they were resolved.
--
-- KEYS    1 dead-regressed zset fingerprints by the time of the letter that came back (µs)
--         2 dead-ignored zset   ignored fingerprints by the time of that decision (µs)
-- READS   dead-group:<fp> hash  the group: state, times, function, error
-- ARGV    1 tag         text    the fleet's prefix
--         2 since       int     µs since 1970; only groups that came back after that
--         3 limit       int     maximum number of groups that came back
-- FLAGS   no-writes
-- RETURNS {"group-marks", {fp, …}, {fp, at, function, error_class, error, example}, …}
-- EMITS   -
-- COST    O(ignored + limit)
-- @include lib/base/number

local tag, since, limit = ARGV[1], ARGV[2], ARGV[3]

local reply = {'group-marks', redis.call('ZRANGE', KEYS[2], 0, -1)}
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', since, 'WITHSCORES', 'LIMIT', 0, limit)
for i = 1, #found, 2 do
  local row = redis.call('HMGET', tag .. 'dead-group:' .. found[i], 'function', 'error_class', 'error', 'example')
  reply[#reply + 1] = {found[i], int(tonumber(found[i + 1])), row[1] or '', row[2] or '', row[3] or '', row[4] or ''}
end
return reply
