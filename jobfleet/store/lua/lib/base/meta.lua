-- A job's clear record: lines of "letter value"; x expires at (µs), r retention (ms), u unique key,
-- s the scope of that key: q while queued, a number of µs, or none while open, g group.
local find, byte = string.find, string.byte  -- globals are slow in a loop

-- Whether nothing but a group stands there: most jobs of groups have nothing else.
local function is_group_only(meta)
  return byte(meta) == 103 and not find(meta, '\n', 1, true)
end

-- What commands take for a number is one: garbage in its place would end a script halfway.
local NUMBERS = {x = '(%d+)', r = '(%d+)'}

local function meta_field(meta, letter)
  local value = string.match('\n' .. meta .. '\n', '\n' .. letter .. ' ' .. (NUMBERS[letter] or '([^\n]*)') .. '\n')
  return value and (#value < 17 or not NUMBERS[letter]) and value or nil
end
