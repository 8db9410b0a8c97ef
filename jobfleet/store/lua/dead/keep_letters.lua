-- keep_letters: copy dead letters before their replay, so that it can be undone.
--
-- KEYS    1 dlq         stream  dead letters
--         2 dead        hash    id → entry in dlq
--         3..* rescued:<id> hash the letter of a replayed job that has not started
-- ARGV    1 ttl         int     ms for which the copies are kept
--         2..* item     text    two per item: id, entry; at most 50
-- FLAGS   -
-- RETURNS {"kept-letters", n}
-- EMITS   -
-- COST    O(items), and the size of the records

local ttl = ARGV[1]

local ids = {}
for i = 1, #KEYS - 2 do ids[i] = ARGV[2 * i] end
local entries = redis.call('HMGET', KEYS[2], unpack(ids))
local rows = {}
for i = 1, #ids do
  local entry = ARGV[2 * i + 1]
  local found = entries[i] == entry and redis.call('XRANGE', KEYS[1], entry, entry)
  rows[i] = found and found[1] or false
end

local count = 0
for i = 1, #ids do
  local key = KEYS[2 + i]
  if rows[i] then
    local fields, values = rows[i][2], {}
    for k = 1, #fields, 2 do values[fields[k]] = fields[k + 1] end
    redis.call('HSET', key, 'reason', values.reason or '', 'band', values.band or '2', 'tries', values.tries or '', 'meta',
      values.meta or '', 'record', values.record or '', 'died', values.died or string.match(rows[i][1], '^%d+'))
    redis.call('PEXPIRE', key, ttl)
    count = count + 1
  end
end
return {'kept-letters', count}
