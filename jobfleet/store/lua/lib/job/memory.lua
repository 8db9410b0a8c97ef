-- @include lib/base/number

-- A child's last claim: three lines, the nonce (or "buried"), the first token, each id with its due time.
-- Tokens of a claim are consecutive.
local function remember(head, base, due_list)
  return head .. '\n' .. base .. '\n' .. due_list
end

local function recall(memory)
  local base, due_list = string.match(memory, '^%w+\n(%d+)\n(.*)$')
  local ids, tokens, dues = {}, {}, {}
  if not base then return ids, tokens, dues end
  local id
  for word in string.gmatch(due_list, '%S+') do  -- ids and due times in turn
    if id then
      ids[#ids + 1] = id
      tokens[#ids], dues[#ids], id = int(tonumber(base) + #ids - 1), word, nil
    else
      id = word
    end
  end
  return ids, tokens, dues
end
