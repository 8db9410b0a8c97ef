-- survey: the types of keys, and the contents of the small hashes among them.
--
-- KEYS    1..* job:<id> any     any key to check, such as job:<id>, one key per item
-- ARGV    1..* fields   text    one per key: - type only, * all fields, @ members, else names of fields, one per line
-- FLAGS   no-writes
-- RETURNS {"surveyed", now, {type, field, value, …}, …}   one per key; type: none if there is none, - without permission
-- EMITS   -
-- COST    O(keys + fields)
-- @include lib/base/clock
-- @include lib/base/number

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local reply = {'surveyed', int(now_us())}

local function members_of(key, kind)
  if kind == 'zset' then return redis.pcall('ZREVRANGE', key, 0, 199) end
  return kind == 'hash' and redis.pcall('HKEYS', key) or {}
end

local function fields_of(key, wanted)
  if wanted == '*' then return redis.pcall('HGETALL', key) end
  local names, row = {}, {}
  for name in string.gmatch(wanted, '[^\n]+') do names[#names + 1] = name end
  local values = redis.pcall('HMGET', key, unpack(names))
  for i = 1, #names do
    if values[i] then
      row[#row + 1] = names[i]
      row[#row + 1] = values[i]
    end
  end
  return row
end

for i = 1, #KEYS do
  local answer = redis.pcall('TYPE', KEYS[i])
  local kind = answer.ok or '-'
  local row = {}
  if ARGV[i] == '@' then
    row = members_of(KEYS[i], kind)
  elseif kind == 'hash' and ARGV[i] ~= '-' then
    row = fields_of(KEYS[i], ARGV[i])
  end
  local facts = {kind}
  for n = 1, #row do facts[n + 1] = row[n] end
  reply[i + 2] = facts
end
return reply
