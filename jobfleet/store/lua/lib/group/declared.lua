-- Limits that functions declare in code. `conf` has them in `declared`, one line per place: "most every burst weight rate",
-- the functions with commas between them, and the field of the limit (in Python: model/limits.py). At such a place
-- the field of the limit has the line in force, and own… the line that an operator has set, if there is one. All other
-- scripts read the line in force only, so a declared limit costs them nothing.
local function declarations_of(text)
  local found = {}
  for row in string.gmatch(text or '', '[^\n]+') do
    local line, functions, field = string.match(row, '^(%S+ %S+ %S+ %S+ %S+) (%S+) (.+)$')
    if field then found[field] = {line = line, functions = functions} end
  end
  return found
end

local function words_of(line)
  local words = {}
  for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
  return words
end

-- The line in force: what the operator has not set comes from the declaration. A rate is one setting, with its words.
local function line_in_force(own, declared)
  if not declared or own == '' then return declared or own end
  local words, base = words_of(own), words_of(declared)
  if words[2] == '-' then
    words[2], words[5] = base[2], base[5]
    if words[3] == '-' then words[3] = base[3] end
  end
  if words[1] == '-' then words[1] = base[1] end
  if words[4] == '-' then words[4] = base[4] end
  return table.concat(words, ' ')
end

-- What the operator has set at a place, empty for nothing, and the present line in force. A line in force that does not
-- follow from the declaration was written by an earlier revision, so it is the operator's.
local function own_limit(conf, field, declared)
  local seen = redis.call('HMGET', conf, field, 'own' .. string.sub(field, 6))
  local line, own = seen[1] or '', seen[2] or ''
  if declared and line == line_in_force(own, declared) then return own, line end
  return line, line
end

-- Writes what applies at a place, after its line was `before`.
local function write_limit(conf, field, before, own, declared)
  local line, mine = line_in_force(own, declared), 'own' .. string.sub(field, 6)
  if line ~= before and line ~= '' then redis.call('HSET', conf, field, line) end
  if line ~= before and line == '' then redis.call('HDEL', conf, field) end
  if field ~= 'limit' and (line == '') ~= (before == '') then redis.call('HINCRBY', conf, 'groups', line == '' and -1 or 1) end
  if declared and own ~= '' then redis.call('HSET', conf, mine, own) else redis.call('HDEL', conf, mine) end
end

-- The functions that declare a word of the line in force (1 for the concurrency, 2 for the rate); - if none does, or if an
-- operator has set it.
local function declared_by(conf, places, field, word)
  local place = places[field]
  if not place or words_of(place.line)[word] == '-' then return '-' end
  local own = redis.call('HGET', conf, 'own' .. string.sub(field, 6))
  return (not own or words_of(own)[word] == '-') and place.functions or '-'
end
