-- In `ring`, a resting group (full, paused, out of tokens, nothing due) keeps its position plus REST.
local REST = 4000000000000000

local function rests(place)
  return tonumber(place) >= REST
end
