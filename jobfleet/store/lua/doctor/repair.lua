-- repair: repair contradictions in a lane, each only if it is still there.
--
-- KEYS    1 lease       zset    running ids by lease deadline (µs)
--         2 runs        hash    id → run
--         3 unique      hash    key → lock
--         4 lane        hash    token
--         5..* result:<id> string one key per item
-- READS   job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms for which a result without a TTL is stored from now on
--         3..* item     text    three per item: kind (lease without a run, run without a lease, key, ttl), id, unique key
-- FLAGS   allow-oom
-- RETURNS {"repaired", letters}   r repaired, n not there any more
-- EMITS   -
-- COST    O(items)
-- @include lib/base/stamp
-- @include lib/base/number
-- @include lib/job/unique

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local tag, stamp, letters = ARGV[1], now_stamp(), {}
local EXPIRED, ONE_SECOND, NORMAL = '1', '000000001000000', '2'

local function has(key) return redis.call('EXISTS', key) == 1 end

for i = 1, (#ARGV - 2) / 3 do
  local kind, id, key = ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
  local has_run, has_lease = redis.call('HEXISTS', KEYS[2], id) == 1, redis.call('ZSCORE', KEYS[1], id)
  local done = false
  if kind == 'lease' and has_lease and not has_run then
    if has(KEYS[4 + i]) or not has(tag .. 'job:' .. id) then
      redis.call('ZREM', KEYS[1], id)
    else  -- a run whose lease has ended: a reaper recovers the job, as after a crash
      local token = int(math.max(tonumber(redis.call('HGET', KEYS[4], 'token') or '0') + 1, tonumber(stamp)))
      redis.call('ZADD', KEYS[1], EXPIRED, id)
      redis.call('HSET', KEYS[2], id, token .. '|repaired.0|' .. stamp .. '|' .. ONE_SECOND .. '|' .. NORMAL .. '|')
      redis.call('HSET', KEYS[4], 'token', token)
    end
    done = true
  elseif kind == 'run' and has_run and not has_lease then
    redis.call('ZADD', KEYS[1], EXPIRED, id)
    done = true
  elseif kind == 'key' then
    local lock = lock_of(redis.call('HGET', KEYS[3], key) or '')
    done = lock.id == id and lock.till == 0 and not has(tag .. 'job:' .. id)
    if done then redis.call('HDEL', KEYS[3], key) end
  elseif kind == 'ttl' and redis.call('PTTL', KEYS[4 + i]) == -1 then
    redis.call('PEXPIRE', KEYS[4 + i], ARGV[2])
    done = true
  end
  letters[i] = done and 'r' or 'n'
end

return {'repaired', table.concat(letters)}
