-- purge: delete dead letters.
--
-- KEYS    1 dlq         stream  dead letters
--         2 dead        hash    id → entry in dlq
--         3 filed       zset    names with the entries and ids of their letters
--         4 filing      hash    id → what is filed of its letter; mark
-- ARGV    1..* id       text    job id; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"purged", n}
-- EMITS   -
-- COST    O(ids · log n)
-- @include lib/dead/filed

local entries = redis.call('HMGET', KEYS[2], unpack(ARGV))
local gone, ids, seen = {}, {}, {}
for i = 1, #ARGV do
  if entries[i] and not seen[ARGV[i]] then
    seen[ARGV[i]] = true
    if string.find(entries[i], '^%d+%-%d+$') then gone[#gone + 1] = entries[i] end
    ids[#ids + 1] = ARGV[i]
  end
end
local notes = notes_of(KEYS[3], KEYS[4], ids)

if #ids > 0 then
  if #gone > 0 then redis.call('XDEL', KEYS[1], unpack(gone)) end
  redis.call('HDEL', KEYS[2], unpack(ids))
  unfile(KEYS[3], KEYS[4], ids, notes)
end

return {'purged', #ids}
