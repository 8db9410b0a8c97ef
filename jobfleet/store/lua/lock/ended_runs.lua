-- ended_runs: which runs do not own their jobs any more: they were settled, or their leases have ended.
--
-- KEYS    1 runs        hash    id → run
-- ARGV    1..* pair     text    id and token, alternating; at most 50 pairs
-- FLAGS   no-writes
-- RETURNS {"ended", {id, token, …}}
-- EMITS   -
-- COST    O(pairs)
-- @include lib/job/run

local ids, ended = {}, {}
for i = 1, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local runs = redis.call('HMGET', KEYS[1], unpack(ids))

for i = 1, #ids do
  if not runs[i] or run_token(runs[i]) ~= ARGV[2 * i] then
    ended[#ended + 1] = ids[i]
    ended[#ended + 1] = ARGV[2 * i]
  end
end

return {'ended', ended}
