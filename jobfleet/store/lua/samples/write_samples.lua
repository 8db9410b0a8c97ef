-- write_samples: append points to series of a chunk. They do not count before `commit_samples` marks their step.
--
-- KEYS    1 samples     hash    holder
--         2 samples:<part> hash series → its points
-- ARGV    1 process     text    the caller's id
--         2 ttl         int     ms for which the chunk is stored after this
--         3..* point    text    two per series: its name, the encoded point
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"written"} | {"lost"}   lost: another process has the duty by now
-- EMITS   -
-- COST    O(series)

local process, ttl = ARGV[1], ARGV[2]
if redis.call('HGET', KEYS[1], 'holder') ~= process then return {'lost'} end

local chunk = KEYS[2]
for i = 3, #ARGV, 2 do
  redis.call('HSET', chunk, ARGV[i], (redis.call('HGET', chunk, ARGV[i]) or '') .. ARGV[i + 1])
end
redis.call('PEXPIRE', chunk, ttl)

return {'written'}
