-- keep_parents: remember the parents of blocked jobs for longer; no lifetime becomes shorter.
--
-- KEYS    1..* parents:<id> hash parent → place and policy, or its ending; number of open ones; due time after that
-- READS   job:<id>      string  envelope of an open job
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms from now on
--         3..* id       text    the child of each key
-- FLAGS   allow-oom
-- RETURNS {"kept"}
-- EMITS   -
-- COST    O(children)

local tag, ttl = ARGV[1], tonumber(ARGV[2])

for i = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  -- A job that has ended since the caller saw it blocked has shortened this lifetime, which nothing would shorten again.
  if left >= 0 and left < ttl and redis.call('EXISTS', tag .. 'job:' .. ARGV[2 + i]) == 1 then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
end

return {'kept'}
