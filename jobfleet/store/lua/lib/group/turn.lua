-- @include lib/base/number

-- Places in `ring`: a group takes turns in a band at SPAN · band + its virtual time, which grows with each of its jobs.
local SPAN = 1000000000000000

-- The first and the last place of those that take turns in a band, as ZRANGEBYSCORE has it.
local function turns_in(band)
  return int(SPAN * band), '(' .. int(SPAN * (band + 1))
end
