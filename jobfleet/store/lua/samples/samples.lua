-- samples: how far the fleet was sampled, and the versions of workers by the time they were first seen.
--
-- KEYS    1 samples     hash    last sample
-- READS   versions      zset    versions of workers by the time they were first seen (µs)
-- ARGV    1 tag         text    the fleet's prefix
-- FLAGS   no-writes
-- RETURNS {"samples", now, last, {version, at, …}}   last is empty if the fleet was never sampled
-- EMITS   -
-- COST    O(versions)
-- @include lib/base/clock
-- @include lib/base/number

local versions = redis.call('ZRANGE', ARGV[1] .. 'versions', 0, -1, 'WITHSCORES')

return {'samples', int(now_us()), redis.call('HGET', KEYS[1], 'last') or '', versions}
