-- A job's clear record: lines of "letter value"; x expires at (µs), r retention (ms), u unique key,
-- s the scope of that key: q while queued, a number of µs, or none while open.
local function meta_field(meta, letter)
  return string.match('\n' .. meta, '\n' .. letter .. ' ([^\n]*)')
end
