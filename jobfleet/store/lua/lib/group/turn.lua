-- @include lib/base/number

-- Positions in `ring`: a group takes turns in a band at SPAN · band + its virtual time, which grows with each of its jobs.
local SPAN = 1000000000000000

-- The bounds of a band's groups that take turns, for ZRANGEBYSCORE.
local function turns_in(band)
  return int(SPAN * band), '(' .. int(SPAN * (band + 1))
end
