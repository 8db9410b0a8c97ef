-- mend: move keys of a wrong type aside, and fields that nothing can read out of small hashes. They are kept for a while.
--
-- KEYS    1..* job:<id> any     two keys an item: any key, such as job:<id>, and where it is kept: aside:job:<id>
-- ARGV    1 ttl         int     ms for which it is kept
--         2..* item     bytes   three an item: type the key must have, a field and its value; both empty for a whole key
-- FLAGS   allow-oom
-- RETURNS {"mended", letters}   m moved aside, n nothing was wrong any more
-- EMITS   -
-- COST    O(items)

local KEYS, ARGV = KEYS, ARGV  -- globals are slow in a loop
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
