-- note_groups: record dead letters in their groups. A resolved group with a letter from after its resolution regresses.
--
-- KEYS    1 dead-groups zset    fingerprints by the time of the last letter (µs)
--         2 dead-regressed zset fingerprints by the time of the letter that came back (µs)
--         3 dead-ignored zset   ignored fingerprints by the time of that decision (µs)
--         4..* dead-group:<fp> hash the group: state, times, function, error
-- ARGV    1 tag         text    the fleet's prefix
--         2 most        int     maximum number of groups
--         3 ttl         int     ms for which a group is kept after its last letter
--         4..* item     text    eight per item: fingerprint, first, last (µs), function, version, class, error, job; 50
-- FLAGS   allow-oom
-- RETURNS {"noted", letters}   n new, r regressed just now, k known before
-- EMITS   -
-- COST    O(items · log n)
-- @include lib/base/number

local tag, most, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local VERSIONS = 10

local letters, rows = {}, {}
for i = 1, #KEYS - 3 do
  rows[i] = redis.call('HMGET', KEYS[3 + i], 'state', 'at', 'first', 'last', 'versions')
end
local count = redis.call('ZCARD', KEYS[1])
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])

for i = 1, #rows do
  local place, row, key = 8 * i - 4, rows[i], KEYS[3 + i]
  local fp, first, last, version = ARGV[place], tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2]), ARGV[place + 4]
  local state, at, before = row[1], tonumber(row[2] or '0'), tonumber(row[4] or '0')
  local letter = 'k'
  if not state then
    state, letter, count = 'new', 'n', count + 1
    redis.call('HSET', key, 'state', state, 'at', int(first), 'by', '-')
  elseif state == 'resolved' and last > at then
    letter = 'r'
    redis.call('HSET', key, 'state', 'regressed', 'at', int(last), 'by', '-')
    redis.call('ZADD', KEYS[2], int(last), fp)
  end
  local versions = row[5] or ''
  if version ~= '' and not string.find('\n' .. versions .. '\n', '\n' .. version .. '\n', 1, true) then
    versions = versions == '' and version or versions .. '\n' .. version
    local _, lines = string.gsub(versions, '\n', '')
    if lines >= VERSIONS then versions = string.gsub(versions, '^[^\n]*\n', '', 1) end
    redis.call('HSET', key, 'versions', versions)
  end
  redis.call('HSET', key, 'first', int(math.min(first, tonumber(row[3] or first))))
  if last >= before then
    redis.call('HSET', key, 'last', int(last), 'function', ARGV[place + 3], 'error_class', ARGV[place + 5], 'error',
      ARGV[place + 6], 'example', ARGV[place + 7])
    redis.call('ZADD', KEYS[1], int(last), fp)
  end
  redis.call('PEXPIRE', key, ttl)
  letters[i] = letter
end

if count > most then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, count - most - 1)
  for i = 1, #oldest do redis.call('UNLINK', tag .. 'dead-group:' .. oldest[i]) end
  redis.call('ZREM', KEYS[1], unpack(oldest))
  redis.call('ZREM', KEYS[2], unpack(oldest))
  redis.call('ZREM', KEYS[3], unpack(oldest))
end
return {'noted', table.concat(letters)}
