-- A job's clear record: lines of "letter value"; x expires at (µs), r retention (ms), u unique key,
-- s the scope of that key: q while queued, a number of µs, or none while open, g group.
-- Whether nothing but a group stands there: most jobs of groups have nothing else.
local function is_group_only(meta)
  return string.byte(meta) == 103 and not string.find(meta, '\n', 1, true)
end

local function meta_field(meta, letter)
  return string.match('\n' .. meta, '\n' .. letter .. ' ([^\n]*)')
end
