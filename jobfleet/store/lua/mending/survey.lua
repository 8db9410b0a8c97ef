-- survey: the types of keys, the contents of the small hashes, and the ends of the streams among them.
--
-- KEYS    1..* job:<id> any     any key to check, such as job:<id>, one key per item
-- ARGV    1..* fields   text    one per key: - type only, * all fields, @ members, else names of fields, one per line
-- FLAGS   no-writes
-- RETURNS {"surveyed", now, {type, field, value, …}, …}   one per key; type: none if there is none, - without permission;
--         the fields of a stream are last and first: its last id, even of a deleted entry, and its first entry
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

local function ends_of(key)
  local row, facts = {}, redis.pcall('XINFO', 'STREAM', key)
  for i = 1, facts.err and 0 or #facts, 2 do
    if facts[i] == 'last-generated-id' then row[1], row[2] = 'last', facts[i + 1] end
    if facts[i] == 'first-entry' and facts[i + 1] then row[3], row[4] = 'first', facts[i + 1][1] end
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
  elseif kind == 'stream' then
    row = ends_of(KEYS[i])
  end
  local facts = {kind}
  for n = 1, #row do facts[n + 1] = row[n] end
  reply[i + 2] = facts
end
return reply
