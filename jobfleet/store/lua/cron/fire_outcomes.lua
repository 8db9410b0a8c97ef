-- fire_outcomes: what came of the fires of cron entries.
--
-- KEYS    1 cron-outcomes hash  entry → numbers of its fires, and their open jobs
-- ARGV    1..* entry    text    its name; none for all entries
-- FLAGS   no-writes
-- RETURNS {"outcomes", {entry, record, …}}   entries without a record are left out
-- EMITS   -
-- COST    O(entries)

if #ARGV == 0 then return {'outcomes', redis.call('HGETALL', KEYS[1])} end

local found, records = {}, redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #ARGV do
  if records[i] then
    found[#found + 1] = ARGV[i]
    found[#found + 1] = records[i]
  end
end

return {'outcomes', found}
