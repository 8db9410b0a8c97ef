-- A job's clear record: lines of "letter value"; x expires at (µs), r retention (ms), v retention
-- of the record if it is shorter (ms), u unique key,
-- s scope of that key: q while queued, a number of µs, or none while open; g group; k of a job that has waited in a run: how
-- long its steps are kept after its end (ms), w since when it has waited last (µs); l what was asked for, a line each
-- (lib/job/life.lua).
local find, byte = string.find, string.byte  -- locals are faster in a loop

-- Whether the record has only a group: most jobs of groups have nothing else.
local function is_group_only(meta)
  return byte(meta) == 103 and not find(meta, '\n', 1, true)
end

local function meta_field(meta, letter)
  -- A field that commands read as a number must be one; garbage would end a script halfway.
  local is_number = letter == 'x' or letter == 'r' or letter == 'v' or letter == 'k'
  local value = string.match('\n' .. meta .. '\n', '\n' .. letter .. (is_number and ' (%d+)\n' or ' ([^\n]*)\n'))
  return value and (#value < 17 or not is_number) and value or nil
end
