-- Serializes a reply so that it can be repeated: each part with its kind and length.
-- @include lib/base/number

local function answer_text(answer)
  local parts = {}
  for i = 1, #answer do
    local part, kind = answer[i], 's'
    if type(part) == 'table' then
      part, kind = answer_text(part), 't'
    elseif type(part) == 'number' then
      part, kind = int(part), 'n'
    end
    parts[i] = kind .. #part .. ':' .. part
  end
  return table.concat(parts)
end

-- nil for a text that `answer_text` does not write: a foreign one may be nested deeper than Lua can call.
local NESTED_MOST, TEXT_MOST = 8, 16777216

local function answer_of(text, depth)
  if #text > TEXT_MOST or (depth or 0) > NESTED_MOST then return nil end
  local answer, at = {}, 1
  while at <= #text do
    local kind, length, from = string.match(text, '^([nst])(%d+):()', at)
    if not kind or #length > 8 or from + length - 1 > #text then return nil end
    local part = string.sub(text, from, from + length - 1)
    if kind == 't' then
      part = answer_of(part, (depth or 0) + 1)
    elseif kind == 'n' then
      part = tonumber(part)
    end
    if part == nil then return nil end
    answer[#answer + 1], at = part, from + length
  end
  return answer
end
