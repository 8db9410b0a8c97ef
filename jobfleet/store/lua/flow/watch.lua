-- watch: register dependants of a job, or return its ending.
--
-- KEYS    1 watched     hash    ids of jobs with dependants
--         2 dependants:<id> zset dependants by the last ending of which they were notified (ms)
-- READS   job:<id>      string  envelope
--         result:<id>   string  its ending
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 copied      int     bytes; a larger record of an ending is not copied to dependants
--         4..* child    text    id of a dependant; at most 50
-- FLAGS   allow-oom
-- RETURNS {"watched"} | {"ended", result} | {"dead"} | {"unknown"}
-- EMITS   -
-- COST    O(children)
-- @include lib/base/clock
-- @include lib/base/number

local tag, id, copied = ARGV[1], ARGV[2], tonumber(ARGV[3])

local function members_at(at)
  local members = {}
  for i = 4, #ARGV do
    members[#members + 1] = at
    members[#members + 1] = ARGV[i]
  end
  return members
end

local result = redis.call('GET', tag .. 'result:' .. id)
if result then
  local ttl = redis.call('PTTL', tag .. 'result:' .. id)
  if string.find(result, '^completed ') and (#result > copied or string.sub(result, -1) == '\n') and ttl > 0 then
    -- These dependants read the record when they run. While they are registered, `retire` leaves it.
    redis.call('ZADD', KEYS[2], unpack(members_at(int(now_us() / 1000))))
    redis.call('PEXPIRE', KEYS[2], ttl)
  end
  return {'ended', result}
end
if redis.call('EXISTS', tag .. 'job:' .. id) == 0 then
  return {redis.call('HEXISTS', tag .. 'dead', id) == 1 and 'dead' or 'unknown'}
end

redis.call('ZADD', KEYS[2], 'NX', unpack(members_at(0)))
redis.call('HSET', KEYS[1], id, 1)

return {'watched'}
