-- renew: extend valid leases; return lost ones and requests to cancel.
--
-- KEYS    1 lease       zset    running ids by lease deadline (µs)
--         2 runs        hash    id → run
-- ARGV    1 lease       int     µs from now
--         2..* pair     text    id and token, alternating; at most 50 pairs
-- FLAGS   allow-oom
-- RETURNS {"renewed", now, {id, token, …}, {id, token, who, …}}   lost; to be cancelled
-- EMITS   -
-- COST    O(pairs · log lease)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run

local lease = tonumber(ARGV[1])
local now = now_us()

local ids = {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local runs = redis.call('HMGET', KEYS[2], unpack(ids))

local deadline, kept, lost, cancelled = int(now + lease), {}, {}, {}
for i = 1, #ids do
  local run = runs[i] and run_parts(runs[i])
  local token = ARGV[2 * i + 1]
  if not run or run.token ~= token then
    lost[#lost + 1] = ids[i]
    lost[#lost + 1] = token
  else
    kept[#kept + 1] = deadline
    kept[#kept + 1] = ids[i]
    if run.cancel ~= '' then
      cancelled[#cancelled + 1] = ids[i]
      cancelled[#cancelled + 1] = token
      cancelled[#cancelled + 1] = run.cancel
    end
  end
end

-- A late request for a shorter lease must not cut what a worker was promised meanwhile.
if #kept > 0 then redis.call('ZADD', KEYS[1], 'GT', unpack(kept)) end

return {'renewed', int(now), lost, cancelled}
