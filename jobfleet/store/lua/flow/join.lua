-- join: let a dependant of a job depend on more jobs, while that job has not ended.
--
-- KEYS    1 parents:<id> hash   parent → place and policy, or its ending; number of open ones; due time after that
-- READS   ready:0       zset    job ids by due time (µs), CRITICAL
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    id of the dependant
--         3 via         text    id of its parent; the new dependencies get the same policy
--         4 most        int     maximum number of parents
--         5..* parent   text    id of a new parent; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"joined", policy} | {"late"} | {"full"}   late: it does not depend on that job, or no longer
-- EMITS   -
-- COST    O(parents)
-- @include lib/base/number
-- @include lib/waiting/bounds

local tag, id, via, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local state = redis.call('HGET', KEYS[1], via)
local policy = state and string.match(state, '^%?(~?%a)')
local waits = false
for band = 0, 3 do
  if is_blocked(redis.call('ZSCORE', tag .. 'ready:' .. band, id)) then waits = true end
end
if not policy or not waits then return {'late'} end
local wanted = {}
for i = 5, #ARGV do wanted[#wanted + 1] = ARGV[i] end
local known = redis.call('HMGET', KEYS[1], unpack(wanted))
local place, fields = redis.call('HLEN', KEYS[1]), {}
for i = 1, #wanted do
  if not known[i] then
    fields[#fields + 1] = wanted[i]
    fields[#fields + 1] = '?' .. policy .. ' ' .. int(place)
    place = place + 1
  end
end
if place - 3 > most then return {'full'} end

if #fields > 0 then
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('HINCRBY', KEYS[1], ':open', #fields / 2)
end

return {'joined', policy}
