-- acquire_lock: take one of the places of a lock for a running job, after places of ended runs were freed.
--
-- KEYS    1 lock:<name> zset    holders by their fencing token; a holder is: token, number, job id
--         2 lock-state:<name> hash  limit; last, the last fencing token
-- ARGV    1 holder      text    who wants the place
--         2 limit       int     number of places
--         3 ttl         int     ms for which the keys are kept after their last use
--         4..* ended    text    holders whose runs have ended
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"acquired", fence} | {"busy", {holder, …}} | {"differs", {holder, …}, limit}   differs: others hold it with this limit
-- EMITS   -
-- COST    O(limit)
-- @include lib/base/clock
-- @include lib/base/number

local holder, limit = ARGV[1], tonumber(ARGV[2])
local now = now_us()
local holders, ended = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), {}
for i = 4, #ARGV do ended[ARGV[i]] = true end

local mine, held, freed = nil, {}, {}
for i = 1, #holders, 2 do
  if holders[i] == holder then mine = holders[i + 1] end
  if ended[holders[i]] then freed[#freed + 1] = holders[i] else held[#held + 1] = holders[i] end
end
local state = redis.call('HMGET', KEYS[2], 'limit', 'last')

if #freed > 0 then redis.call('ZREM', KEYS[1], unpack(freed)) end
if mine and not ended[holder] then return {'acquired', int(tonumber(mine))} end
if #held > 0 and tonumber(state[1]) ~= limit then return {'differs', held, state[1] or '0'} end
if #held >= limit then return {'busy', held} end

-- Redis's time makes the token grow even if the keys have expired in between.
local fence = int(math.max(now, (tonumber(state[2]) or 0) + 1))
redis.call('ZADD', KEYS[1], fence, holder)
redis.call('HSET', KEYS[2], 'limit', int(limit), 'last', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])

return {'acquired', fence}
