-- set_limit: set or clear an operator's limit of a queue or of its groups, or the aging or durability of its jobs.
--
-- KEYS    1 conf        hash    limits
--         2 gdue        zset    groups by the time of the next check of their turn (µs)
--         3 wake        zset    marker on which idle children block
-- READS   ring          zset    groups by their turn
--         ready:0       zset    job ids by due time (µs)
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
-- ARGV    1 tag         text    the lane's prefix
--         2 field       text    limit, limit:<group> (* for all without their own), aging or durability
--         3 value       text    a change of a limit: see lib/group/limit; µs for aging; a level; empty: clear
--         4 skip        int     number of resting groups that were already updated
--         5 most        int     maximum number of groups with limits
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"set", changed, updated}   changed: what the operator has set; updated: number of resting groups that
--         are checked again; 50: call again
--         {"full"}   too many groups have limits of their own
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/group/limit
-- @include lib/group/declared
-- @include lib/waiting/any_due
-- @include lib/group/wake_groups

local tag, field, value, skip, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local group = string.match(field, '^limit:(.*)$')
local now = now_us()

local old, line, declared
local is_limit = field ~= 'aging' and field ~= 'durability'
if not is_limit then
  old = redis.call('HGET', KEYS[1], field) or ''
else
  local place = declarations_of(redis.call('HGET', KEYS[1], 'declared'))[field]
  declared = place and place.line
  old, line = own_limit(KEYS[1], field, declared)
end
local new = value
if value ~= '' and is_limit then new = changed_limit(old, value) end
if group and new ~= '' and line == '' and tonumber(redis.call('HGET', KEYS[1], 'groups') or '0') >= most then return {'full'} end
local found = group and resting(tag, group, skip) or {}
local changed = old ~= new
local claimable = any_due(tag, now)

if line then
  write_limit(KEYS[1], field, line, new, declared)
elseif new ~= '' then
  redis.call('HSET', KEYS[1], field, new)
else
  redis.call('HDEL', KEYS[1], field)
end
wake_groups(KEYS[2], found, now)
if claimable or #found > 0 then redis.call('ZADD', KEYS[3], 0, 'w') end

return {'set', changed and 1 or 0, #found}
