-- Lua prints numbers above 14 digits as 1.79e+15; this prints all digits. '%d' is cheaper, if it holds 64 bits.
local WHOLE = string.format('%d', 9e15) == '9000000000000000' and '%d' or '%.0f'

local function int(number)
  return string.format(WHOLE, number)
end
