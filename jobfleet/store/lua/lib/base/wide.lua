-- Small sorted sets and hashes have a compact encoding, in which every access scans them from the beginning. With a
-- hundred running jobs, that was a quarter of a job's cost on the server. A member of more than 64 bytes ends the compact
-- encoding for the lifetime of the key. Therefore a large batch adds such a member and removes it at once.
local MANY, WIDE = 8, 'wide wide wide wide wide wide wide wide wide wide wide wide ------'

-- Adds many members to a sorted set, each after its score.
local function add_many(key, count, ...)
  if count < MANY then return redis.call('ZADD', key, ...) end
  redis.call('ZADD', key, 0, WIDE, ...)
  redis.call('ZREM', key, WIDE)
end

-- Sets many fields of a hash, each before its value.
local function set_many(key, count, ...)
  if count < MANY then return redis.call('HSET', key, ...) end
  redis.call('HSET', key, WIDE, '', ...)
  redis.call('HDEL', key, WIDE)
end
