-- @include lib/base/gap

-- Whether leases may be reaped: not during a hold, nor if no tick has recently checked for a gap.
local function may_judge(lane_tag, now)
  local lane = redis.call('HMGET', lane_tag .. 'lane', 'seen', 'hold', 'longest')
  local seen, hold, longest = tonumber(lane[1] or '0'), tonumber(lane[2] or '0'), tonumber(lane[3] or '0')
  return hold <= now and now >= seen and now - seen <= gap_allowed(longest)
end
