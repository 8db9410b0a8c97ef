-- @include lib/base/number

-- The score of a job that waits in its band (`ready:<p>`). It has four regimes; store/scores.py has the same, and a test
-- compares the two.
--   grouped    due - GROUPED   below FIRST_PLAIN: no claim of plain jobs looks there, the turns of groups are in `ring`
--   plain      due             from FIRST_PLAIN
--   withheld   due + AGE       from WITHHELD: its function is paused, and no claim looks there; also a job of a group
--   blocked    BLOCKED         it waits for other jobs, and no claim looks there
local GROUPED, AGE, WITHHELD, BLOCKED = 9000000000000000, 5500000000000000, 7000000000000000, 9000000000000000
local FIRST_PLAIN = '0'

local function is_blocked(score)
  return score and tonumber(score) >= BLOCKED
end

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
