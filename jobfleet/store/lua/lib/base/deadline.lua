-- Deadlines of requests, and the lifetime of stored replies.
-- @include lib/base/clock
-- @include lib/base/number
local KEPT_MS = 60000

-- A request may arrive after its client has given up, so it carries a deadline (µs).
local function is_too_late(deadline)
  return tonumber(deadline) < now_us()
end

-- Lifetime of a stored reply. No copy of the request runs after the deadline, and a retry comes soon.
local function kept_ms(deadline)
  return int(math.max(KEPT_MS, (tonumber(deadline) - now_us()) / 1000 + 1000))
end
