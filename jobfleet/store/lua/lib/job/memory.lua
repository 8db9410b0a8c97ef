-- @include lib/base/number

-- A child's last claim: three lines, the nonce (or "buried"), the first token, each id and when it was due.
-- Tokens of a claim follow each other.
local function remember(head, base, stood)
  return head .. '\n' .. base .. '\n' .. stood
end

local function recall(memory)
  local base, stood = string.match(memory, '^%w+\n(%d+)\n(.*)$')
  local ids, tokens, dues = {}, {}, {}
  if not base then return ids, tokens, dues end
  for id, due in string.gmatch(stood, '(%S+) (%S+)') do
    ids[#ids + 1] = id
    tokens[#ids], dues[#ids] = int(tonumber(base) + #ids - 1), due
  end
  return ids, tokens, dues
end
