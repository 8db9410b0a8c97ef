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

local function answer_of(text)
  local answer, at = {}, 1
  while at <= #text do
    local kind, length, from = string.match(text, '^(%a)(%d+):()', at)
    local part = string.sub(text, from, from + length - 1)
    if kind == 't' then
      part = answer_of(part)
    elseif kind == 'n' then
      part = tonumber(part)
    end
    answer[#answer + 1], at = part, from + length
  end
  return answer
end
