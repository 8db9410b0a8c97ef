-- define_limit: define a named limit, or remove its definition.
--
-- KEYS    1 gates       zset    names of the gates by the time of their last use (µs); those without an end from 9e15 on
--         2 gate:<name> hash   definition and state
-- ARGV    1 name        text    of the limit
--         2 channel     text    prefix of the channels on which children are notified of room
--         3 most        int     maximum number of defined limits
--         4 how         text    change (what is not given stays), replace or remove
--         5 runs        int     number of runs at once; as below, empty if it is not given
--         6 low         int     least number of runs at once that an adaptive limit comes to
--         7 high        int     most
--         8 count       int     costs per period
--         9 period      int     µs
--         10 rate       text    the rate as it was given
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"defined", changed} | {"full"}   full: there are too many limits
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/gate/gate

local NAMES = {'most', 'low', 'high', 'count', 'period', 'rate'}
local name, channel, most, how = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local kept = how == 'remove' and '' or '1'
local given = {ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]}
local now = now_us()
local before = redis.call('HMGET', KEYS[2], 'defined', unpack(NAMES))
local gate = {key = KEYS[2], waiting = redis.call('HGET', KEYS[2], 'waiting') or ''}
if kept ~= '' and not before[1] and redis.call('ZCOUNT', KEYS[1], DEFINED, '+inf') >= most then return {'full'} end

if how == 'change' then  -- the numbers of runs belong together, and those of the rate
  for _, part in ipairs({{1, 2, 3}, {4, 5, 6}}) do
    local is_given = given[part[1]] ~= '' or given[part[2]] ~= ''
    for _, i in ipairs(part) do given[i] = is_given and given[i] or before[i + 1] or '' end
  end
end
local changed, fields, gone = kept ~= (before[1] or ''), {}, {}
for i = 1, #NAMES do
  local text = given[i]
  if text ~= (before[i + 1] or '') then changed = true end
  if text == '' then gone[#gone + 1] = NAMES[i] else fields[#fields + 1], fields[#fields + 2] = NAMES[i], text end
end
if changed then
  local period, old = tonumber(given[5]), tonumber(before[6])
  if period and old and period ~= old then
    -- What was used counts as used now: the buckets of another period have another width.
    local _, sum = rows_of(redis.call('HGET', KEYS[2], 'used'), old / BUCKETS, SPAN, now)
    fields[#fields + 1], fields[#fields + 2] = 'used', int(math.floor(now / (period / BUCKETS))) .. ':' .. int(sum)
  end
  if given[3] == '' then gone[#gone + 1] = 'level' end
  redis.call('HDEL', KEYS[2], 'first', unpack(gone))
  if kept ~= '' then
    redis.call('HSET', KEYS[2], 'defined', kept, unpack(fields))
    redis.call('PERSIST', KEYS[2])
    redis.call('ZADD', KEYS[1], DEFINED, name)
  else
    redis.call('UNLINK', KEYS[2])
    redis.call('ZREM', KEYS[1], name)
  end
  if kept ~= '' then wake(gate, channel, name, 1000, now) end
end

return {'defined', changed and 1 or 0}
