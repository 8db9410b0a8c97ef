-- rescues: the rescues of dead letters, the newest first.
--
-- KEYS    1 rescues     zset    rescues by their begin (µs)
--         2 rescuing    zset    rescues that are not over, by their begin (µs)
-- READS   rescue:<rescue> hash  the rescue: state, plan, counts
--         rescue-jobs:<rescue> zset its jobs that are in flight
-- ARGV    1 tag         text    the fleet's prefix
--         2 open        int     1 for those that are not over; 0 for all
--         3 limit       int     maximum number
-- FLAGS   no-writes
-- RETURNS {"rescues", now, {rescue, flying, {field, value, …}}, …}   a key of a wrong type is in the field "unreadable"
-- EMITS   -
-- COST    O(limit)
-- @include lib/base/clock
-- @include lib/base/number

local tag, open, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])

local found
if open == '1' then
  found = redis.call('ZREVRANGE', KEYS[2], 0, limit - 1)
else
  found = redis.call('ZREVRANGE', KEYS[1], 0, limit - 1)
end
local reply = {'rescues', int(now_us())}
-- A damaged rescue must not hide the others.
for i = 1, #found do
  local row, jobs = 'rescue:' .. found[i], 'rescue-jobs:' .. found[i]
  local fields, flying = redis.pcall('HGETALL', tag .. row), redis.pcall('ZCARD', tag .. jobs)
  if fields.err then fields = {'unreadable', row} end
  if type(flying) ~= 'number' then fields[#fields + 1], fields[#fields + 2], flying = 'unreadable', jobs, 0 end
  reply[#reply + 1] = {found[i], flying, fields}
end
return reply
