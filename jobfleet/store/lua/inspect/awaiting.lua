-- awaiting: the jobs that wait for a signal since a run, among some jobs of one band that are not due, the latest due first.
--
-- KEYS    1 ready:<p>   zset    job ids by due time (µs)
-- READS   tries         hash    id → tries
--         job:<id>      string  envelope
--         steps:<id>    hash    the wait of the job, under @
--         meta          hash    id → clear record, since when it waits
-- ARGV    1 tag         text    the lane's prefix
--         2 grouped     int     1: jobs of groups; 0: jobs without a group
--         3 skip        int     number of entries to skip
--         4 limit       int     entries to look at, 1..1000
--         5 most        int     rows to return, 1..50; the rest is not looked at
-- FLAGS   no-writes
-- RETURNS {"awaiting", now, number of entries looked at, {id, due, tries, envelope, since and signal}, …}
-- EMITS   -
-- COST    O(log n + skip + limit)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/waiting/score
-- @include lib/waiting/awaited

local tag, most = ARGV[1], tonumber(ARGV[5])
local now = now_us()
local last, first = '(' .. int(BLOCKED), '(' .. int(now)
if ARGV[2] == '1' then last, first = '(' .. FIRST_PLAIN, '(' .. grouped_score(now) end

local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], last, first, 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
local reply, seen = {'awaiting', int(now), 0}, 0
for i = 1, #found, 2 do
  if #reply >= most + 3 then break end
  local id = found[i]
  local wait = awaited(tag, id, found[i + 1], now)
  seen = seen + 1
  if string.match(wait, '^%d+ (.+)$') then
    local envelope, tries = redis.pcall('GET', tag .. 'job:' .. id), redis.call('HGET', tag .. 'tries', id)
    reply[#reply + 1] = {id, found[i + 1], tries or '', type(envelope) == 'string' and envelope or '', wait}
  end
end
reply[3] = seen
return reply
