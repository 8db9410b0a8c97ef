-- Sorted sets and hashes of few short members have a compact form, in which every access reads them from their beginning:
-- with a hundred jobs running that was a quarter of all that a job costs the server. A member of more than 64 bytes takes
-- them out of it for as long as they live, so many that come at once bring one along, which leaves at once.
local MANY, WIDE = 8, 'wide wide wide wide wide wide wide wide wide wide wide wide ------'

-- Adds so many members to a sorted set, each behind its score.
local function add_many(key, count, ...)
  if count < MANY then return redis.call('ZADD', key, ...) end
  redis.call('ZADD', key, 0, WIDE, ...)
  redis.call('ZREM', key, WIDE)
end

-- Sets so many fields of a hash, each before its value.
local function set_many(key, count, ...)
  if count < MANY then return redis.call('HSET', key, ...) end
  redis.call('HSET', key, WIDE, '', ...)
  redis.call('HDEL', key, WIDE)
end
