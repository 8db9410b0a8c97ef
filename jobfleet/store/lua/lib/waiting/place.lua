-- Where a job stands in its band: at its due time; one of a group at its due time less GROUPED, below zero, where no
-- claim of plain jobs looks; one that waits for others at the end of time (lib/waiting/blocked.lua).
local GROUPED = 9000000000000000

-- When a job that stands there is due.
local function due_at(score)
  local due = tonumber(score)
  return due < 0 and due + GROUPED or due
end
