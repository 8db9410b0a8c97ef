-- Time without a tick after which a lane's leases are held: max(2 s, min(5 s, lease / 3)).
local function gap_allowed(longest)
  return math.max(2000000, math.min(5000000, longest / 3))
end
