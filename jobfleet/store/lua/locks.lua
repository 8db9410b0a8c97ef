-- locks: of some unique keys of a lane, taken at random, those that a job holds which is not open any more.
--
-- KEYS    1 unique      hash    key → lock
-- READS   job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 limit       int     1..500
-- FLAGS   no-writes
-- RETURNS {"locks", held, looked, {key, id, …}}   held: how many there are; looked: at how many it was looked;
--         two a lock, those that stand till a time left out
-- EMITS   -
-- COST    O(limit)
-- @include lib/unique

local tag, limit = ARGV[1], tonumber(ARGV[2])

local drawn = redis.call('HRANDFIELD', KEYS[1], limit, 'WITHVALUES') or {}
local names, ids, envelopes, left = {}, {}, {}, {}
for i = 1, #drawn, 2 do
  local lock = lock_of(drawn[i + 1])
  if lock.till == 0 then
    names[#names + 1], ids[#ids + 1] = drawn[i], lock.id
    envelopes[#ids] = tag .. 'job:' .. lock.id
  end
end
if #ids > 0 and redis.call('EXISTS', unpack(envelopes)) < #ids then
  for i = 1, #ids do
    if redis.call('EXISTS', envelopes[i]) == 0 then
      left[#left + 1] = names[i]
      left[#left + 1] = ids[i]
    end
  end
end

return {'locks', redis.call('HLEN', KEYS[1]), #drawn / 2, left}
