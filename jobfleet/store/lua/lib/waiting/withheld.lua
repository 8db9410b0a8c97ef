-- @include lib/waiting/place

-- A job whose function is paused stands in its band an age after its due time, where no claim looks; one of a group too,
-- and then not with its group.
local AGE, WITHHELD = 5500000000000000, 7000000000000000

local function is_withheld(score)
  score = tonumber(score)
  return score >= WITHHELD and score < 9000000000000000
end

-- When a job is due that stands there: of one that is withheld, when it was.
local function due_of_any(score)
  return is_withheld(score) and tonumber(score) - AGE or due_at(score)
end
