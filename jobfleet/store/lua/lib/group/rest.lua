-- In `ring`, a group that rests (full, paused, out of tokens, nothing due) keeps its place, REST further on.
local REST = 4000000000000000

local function rests(place)
  return tonumber(place) >= REST
end
