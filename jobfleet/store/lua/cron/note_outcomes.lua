-- note_outcomes: write down what came of the fires of some cron entries, and forget entries that are gone.
--
-- KEYS    1 cron-outcomes hash  entry → numbers of its fires, and their open jobs
-- READS   cron          hash    entry → since (µs), fingerprint, record
-- ARGV    1 tag         text    the fleet's prefix
--         2..* entry    text    three per entry: name, the record that was read (empty for none), the new one; at most 50
-- FLAGS   allow-oom
-- RETURNS {"noted", count}   those written; another process has written the others since they were read
-- EMITS   -
-- COST    O(entries) if some are gone

local cron, fields = ARGV[1] .. 'cron', {}
for i = 2, #ARGV, 3 do
  local entry = ARGV[i]
  -- Two processes may count the same fires: only the one whose numbers are the stored ones adds to them.
  if redis.call('HEXISTS', cron, entry) == 1 and (redis.call('HGET', KEYS[1], entry) or '') == ARGV[i + 1] then
    fields[#fields + 1] = entry
    fields[#fields + 1] = ARGV[i + 2]
  end
end
local gone, count = {}, #fields / 2
if redis.call('HLEN', KEYS[1]) + count > redis.call('HLEN', cron) then
  for _, entry in ipairs(redis.call('HKEYS', KEYS[1])) do
    if redis.call('HEXISTS', cron, entry) == 0 then gone[#gone + 1] = entry end
  end
end

if count > 0 then redis.call('HSET', KEYS[1], unpack(fields)) end
for i = 1, #gone do redis.call('HDEL', KEYS[1], gone[i]) end

return {'noted', count}
