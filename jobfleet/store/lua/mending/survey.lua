-- survey: which type keys have, and what stands in the small hashes among them.
--
-- KEYS    1..* job:<id> any     any key that is looked at, such as job:<id>, one key an item
-- ARGV    1..* fields   text    one a key: - for its type alone, * for all fields of a hash, else names of fields, one a line
-- FLAGS   no-writes
-- RETURNS {"surveyed", now, {type, field, value, …}, …}   one a key; type: none where there is none, - where it is refused
-- EMITS   -
-- COST    O(keys + fields)
-- @include lib/base/clock
-- @include lib/base/number

local KEYS, ARGV = KEYS, ARGV  -- globals are slow in a loop
local reply = {'surveyed', int(now_us())}

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
  local said = redis.pcall('TYPE', KEYS[i])
  local kind = said.ok or '-'
  local row = kind == 'hash' and ARGV[i] ~= '-' and fields_of(KEYS[i], ARGV[i]) or {}
  local told = {kind}
  for n = 1, #row do told[n + 1] = row[n] end
  reply[i + 2] = told
end
return reply
