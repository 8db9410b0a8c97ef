-- The score of a job that waits in its band (`ready:<p>`). It has four regimes; store/keys.py has the same, and a test
-- compares the two. A file of its own, because claim needs no more than this, and creating functions takes time.
--   grouped    due - GROUPED   below FIRST_PLAIN: no claim of plain jobs looks there, the turns of groups are in `ring`
--   plain      due             from FIRST_PLAIN
--   withheld   due + AGE       from WITHHELD: its function is paused, and no claim looks there; also a job of a group
--   blocked    BLOCKED         it waits for other jobs, and no claim looks there
local GROUPED, AGE, WITHHELD, BLOCKED = 9000000000000000, 5500000000000000, 7000000000000000, 9000000000000000
local FIRST_PLAIN = '0'

local function is_blocked(score)
  return score and tonumber(score) >= BLOCKED
end
