-- A job that waits for others stands in its band at the end of time, where no claim looks.
local BLOCKED = 9000000000000000

local function is_blocked(due)
  return due and tonumber(due) >= BLOCKED
end
