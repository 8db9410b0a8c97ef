-- Requests that come late, and for how long answers are kept for those that come again.
-- @include lib/base/clock
-- @include lib/base/number
local KEPT_MS = 60000

-- A request that its client has given up may arrive all the same, so it says until when it may run (µs).
local function is_too_late(deadline)
  return tonumber(deadline) < now_us()
end

-- How long an answer is kept: no copy of its request runs after the deadline, and who asks again does so soon.
local function kept_ms(deadline)
  return int(math.max(KEPT_MS, (tonumber(deadline) - now_us()) / 1000 + 1000))
end
