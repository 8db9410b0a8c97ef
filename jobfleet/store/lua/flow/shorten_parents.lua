-- shorten_parents: keep the parents of ended jobs for as long as their results only.
--
-- KEYS    1..* parents:<id> hash parent → place and policy, or its ending
-- READS   job:<id>      string  envelope of an open job
-- ARGV    1 tag         text    the lane's prefix
--         2..* item     text    two per item: id, ms; at most 50
-- FLAGS   allow-oom
-- RETURNS {"shortened", n}
-- EMITS   -
-- COST    O(items)

local tag, count = ARGV[1], 0
for i = 1, #KEYS do
  if redis.call('EXISTS', tag .. 'job:' .. ARGV[2 * i]) == 0 then
    count = count + redis.call('PEXPIRE', KEYS[i], ARGV[2 * i + 1], 'LT')
  end
end

return {'shortened', count}
