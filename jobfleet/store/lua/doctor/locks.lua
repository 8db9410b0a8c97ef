-- locks: among random unique keys of a lane, those whose holder is not open any more.
--
-- KEYS    1 unique      hash    key → lock
-- READS   job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 limit       int     1..500
--         3 grace       int     µs for which a key whose time is over may remain
-- FLAGS   no-writes
-- RETURNS {"locks", held, looked, over, {key, id, …}}   held: number of keys; looked: number of checked keys;
--         over: how many of these ended longer ago than the grace; then two per key of the others
-- EMITS   -
-- COST    O(limit)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/unique

local tag, limit, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_us()

local drawn = redis.call('HRANDFIELD', KEYS[1], limit, 'WITHVALUES') or {}
local names, ids, envelopes, left, over = {}, {}, {}, {}, 0
for i = 1, #drawn, 2 do
  local lock = lock_of(drawn[i + 1])
  if lock.till == 0 then
    names[#names + 1], ids[#ids + 1] = drawn[i], lock.id
    envelopes[#ids] = tag .. 'job:' .. lock.id
  elseif lock.till + grace < now then
    over = over + 1
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

return {'locks', redis.call('HLEN', KEYS[1]), #drawn / 2, over, left}
