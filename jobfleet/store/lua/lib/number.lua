-- Lua prints numbers above 14 digits as 1.79e+15; this does not.
local function int(number)
  return string.format('%.0f', number)
end
