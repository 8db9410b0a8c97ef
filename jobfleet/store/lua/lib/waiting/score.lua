-- @include lib/base/number
-- @include lib/waiting/bounds

-- Due times as scores and back (lib/waiting/bounds.lua).
local function is_withheld(score)
  score = tonumber(score)
  return score >= WITHHELD and score < BLOCKED
end

-- The score of a job of a group, as text.
local function grouped_score(due)
  return int(due - GROUPED)
end

-- The score of a job whose function is paused. One that was due before WITHHELD - AGE counts as due then.
local function withheld_score(due)
  return math.max(tonumber(due), WITHHELD - AGE) + AGE
end

-- A score without the offset of groups: the due time of a plain job and of a job of a group.
local function ungrouped(score)
  local due = tonumber(score)
  return due < 0 and due + GROUPED or due
end

-- The due time of a job in any regime; BLOCKED of one that is blocked.
local function due_of_score(score)
  return is_withheld(score) and tonumber(score) - AGE or ungrouped(score)
end
