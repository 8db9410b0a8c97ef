-- locks: of some unique keys of a lane, taken at random, those that a job holds which is not open any more.
--
-- KEYS    1 unique      hash    key → lock
-- READS   job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 limit       int     1..50
-- FLAGS   no-writes
-- RETURNS {"locks", held, looked, {key, id, …}}   held: how many there are; looked: at how many it was looked;
--         two a lock; those that stand till a time are never told
-- EMITS   -
-- COST    O(limit)
-- @include lib/unique

local tag, limit = ARGV[1], tonumber(ARGV[2])

local drawn = redis.call('HRANDFIELD', KEYS[1], limit, 'WITHVALUES') or {}
local left = {}
for i = 1, #drawn, 2 do
  local lock = lock_of(drawn[i + 1])
  if lock.till == 0 and redis.call('EXISTS', tag .. 'job:' .. lock.id) == 0 then
    left[#left + 1] = drawn[i]
    left[#left + 1] = lock.id
  end
end

return {'locks', redis.call('HLEN', KEYS[1]), #drawn / 2, left}
