-- mend: move keys of a wrong type, and unreadable fields of small hashes, aside. They are stored for a while.
--
-- KEYS    1..* job:<id> any     two keys per item: any key, such as job:<id>, and its new place: aside:job:<id>
-- ARGV    1 ttl         int     ms for which it is stored
--         2..* item     bytes   three per item: type the key must have, a field and its value; both empty for a whole key
-- FLAGS   allow-oom
-- RETURNS {"mended", letters}   m moved aside, n no longer damaged
-- EMITS   -
-- COST    O(items)

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local ttl, letters = ARGV[1], {}

for i = 1, (#ARGV - 1) / 3 do
  local key, aside = KEYS[2 * i - 1], KEYS[2 * i]
  local at = 3 * i - 1
  local kind, field, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local is = redis.call('TYPE', key).ok
  letters[i] = 'n'
  if is ~= 'none' and is ~= kind then
    redis.call('RENAME', key, aside)
    redis.call('PEXPIRE', aside, ttl)
    letters[i] = 'm'
  elseif is == 'hash' and value ~= '' and redis.call('HGET', key, field) == value then
    redis.call('HDEL', key, field)
    if redis.call('TYPE', aside).ok ~= 'hash' then redis.call('UNLINK', aside) end
    redis.call('HSET', aside, field, value)
    redis.call('PEXPIRE', aside, ttl)
    letters[i] = 'm'
  end
end

return {'mended', table.concat(letters)}
