-- A job whose function is paused stands in its band an age after its due time, where no claim looks.
local AGE, WITHHELD = 5500000000000000, 7000000000000000

-- When a job is due: of one that is withheld, when it was.
local function due_of_any(due)
  due = tonumber(due)
  return due >= WITHHELD and due < 9000000000000000 and due - AGE or due
end
