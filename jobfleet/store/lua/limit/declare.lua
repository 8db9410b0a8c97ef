-- declare: replace the limits that the functions of a process declare in code for a queue.
--
-- KEYS    1 conf        hash    limits
-- ARGV    1 most        int     maximum number of groups with limits
--         2 count       int     number of declared limits that follow
--         3..* rest     text    field, line and functions of each limit; then the names of all functions of the process
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"declared", {field, …}, {field, functions, …}}   the fields whose limit in force has changed; the fields at which
--         functions of other processes declared another limit, which is replaced, and these functions
--         {"full"}   too many groups have limits of their own
-- EMITS   -
-- COST    O(declared limits + functions)
-- @include lib/group/declared

local most, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local known, places, changed, replaced = {}, {}, {}, {}
for i = 3 * count + 3, #ARGV do known[ARGV[i]] = true end

local conf = redis.call('HMGET', KEYS[1], 'declared', 'groups')
local before = declarations_of(conf[1])
for field, place in pairs(before) do
  local others = {}
  for name in string.gmatch(place.functions, '[^,]+') do
    if not known[name] then others[#others + 1] = name end
  end
  if #others > 0 then places[field] = {line = place.line, functions = table.concat(others, ',')} end
end
for i = 3, 3 * count, 3 do
  local field, line, functions = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local other = places[field]
  if other and other.line == line then
    functions = other.functions .. ',' .. functions
  elseif other then
    replaced[#replaced + 1], replaced[#replaced + 2] = field, other.functions
  end
  places[field] = {line = line, functions = functions}
end

local fields, added = {}, 0
for field in pairs(places) do fields[#fields + 1] = field end
for field in pairs(before) do
  if not places[field] then fields[#fields + 1] = field end
end
table.sort(fields)
local rows, plan = {}, {}
for i = 1, #fields do
  local field, place = fields[i], places[fields[i]]
  local own, line = own_limit(KEYS[1], field, before[field] and before[field].line)
  local declared = place and place.line
  if place then rows[#rows + 1] = declared .. ' ' .. place.functions .. ' ' .. field end
  plan[i] = {field, line, own, declared}
  if line ~= line_in_force(own, declared) then changed[#changed + 1] = field end
  if field ~= 'limit' and line == '' then added = added + 1 end
end
if added > 0 and tonumber(conf[2] or '0') + added > most then return {'full'} end

for i = 1, #plan do write_limit(KEYS[1], unpack(plan[i], 1, 4)) end
local text = table.concat(rows, '\n')
if text ~= '' and text ~= conf[1] then redis.call('HSET', KEYS[1], 'declared', text) end
if text == '' and conf[1] then redis.call('HDEL', KEYS[1], 'declared') end

return {'declared', changed, replaced}
