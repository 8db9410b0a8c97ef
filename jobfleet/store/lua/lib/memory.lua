-- A child's last claim: four lines, the nonce (or "buried"), the first token, the ids, when they were due.
-- Tokens of a claim follow each other.
local function remember(head, base, listed, times)
  return head .. '\n' .. base .. '\n' .. listed .. '\n' .. times
end

local function recall(memory)
  local base, listed, times = string.match(memory, '^%w+\n(%d+)\n([^\n]*)\n(.*)$')
  local ids, tokens, dues = {}, {}, {}
  if not base then return ids, tokens, dues end
  for id in string.gmatch(listed, '%S+') do
    ids[#ids + 1] = id
    tokens[#ids] = int(tonumber(base) + #ids - 1)
  end
  for due in string.gmatch(times, '%S+') do dues[#dues + 1] = due end
  return ids, tokens, dues
end
