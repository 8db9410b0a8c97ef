-- commit_samples: mark a step of all series as sampled, and store the counters from which the next differences start.
--
-- KEYS    1 samples     hash    holder, last sample, epoch, last archived hour
--         2 samples:<part> hash counters: counters at the last sample
--         3 samples:<part> hash the chunk of the step; under the empty name its marks
--         4 samples:<part> hash the chunk of the minute
--         5 versions    zset    versions of workers by the time they were first seen (µs)
-- ARGV    1 process     text    the caller's id
--         2 last        int     the number of the step
--         3 epoch       int     how often the clock was set back
--         4 hour        text    the last archived hour; empty if there is none
--         5 mark        text    of the step; empty for none
--         6 minute      text    the mark of the minute; empty for none
--         7 ttls        text    ms for which the three hashes are stored
--         8 versions    int     number of versions that follow
--         9..* rest     text    versions; name and value of each counter, which is deleted if its value is empty
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"committed", now} | {"lost"}
-- EMITS   -
-- COST    O(counters + versions · log versions)
-- @include lib/base/clock
-- @include lib/base/number

local MOST = 200
local process, last, epoch, hour, mark, minute, ttls = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local versions = 8 + tonumber(ARGV[8])
if redis.call('HGET', KEYS[1], 'holder') ~= process then return {'lost'} end
local now = now_us()

local counters_ttl, chunk_ttl, minute_ttl = string.match(ttls, '^(%d+) (%d+) (%d+)$')
local function append(key, encoded, ttl)
  if encoded == '' then return end
  redis.call('HSET', key, '', (redis.call('HGET', key, '') or '') .. encoded)
  redis.call('PEXPIRE', key, ttl)
end

for i = 9, versions do redis.call('ZADD', KEYS[5], 'NX', int(now), ARGV[i]) end
if versions > 8 then redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -MOST - 1) end
for i = versions + 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[2], counters_ttl)
append(KEYS[3], mark, chunk_ttl)
append(KEYS[4], minute, minute_ttl)
redis.call('HSET', KEYS[1], 'last', last, 'epoch', epoch, 'hour', hour)

return {'committed', int(now)}
