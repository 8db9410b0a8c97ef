-- @include lib/base/number

-- The due time of a job: "" now, "+µs" from now, "µs" at; and whether that is now. `stamp` is now as a text.
local function due_of(when, now, stamp)
  if when == '' then return stamp, true end
  local delay = string.match(when, '^%+(%d+)$')
  local due = delay and now + tonumber(delay) or tonumber(when)
  return delay and int(due) or when, due <= now
end

-- A clear record for storage: a relative expiry becomes a time.
local function dated(meta, now)
  meta = string.gsub('\n' .. meta, '\nx %+(%d+)', function(us) return '\nx ' .. int(now + tonumber(us)) end)
  return string.sub(meta, 2)
end
