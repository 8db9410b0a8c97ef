-- note_times: write down when some cron entries fire, and forget the times of entries that are gone.
--
-- KEYS    1 cron-times  hash    entry → since (µs), times
-- READS   cron          hash    entry → since (µs), fingerprint, record
-- ARGV    1 tag         text    the fleet's prefix
--         2..* entry    text    three per entry: name, since (µs), times; at most 50
-- FLAGS   allow-oom
-- RETURNS {"noted", count}   changed ones
-- EMITS   -
-- COST    O(entries) if some are gone

local cron, fields = ARGV[1] .. 'cron', {}
for i = 2, #ARGV, 3 do
  local entry, since, text = ARGV[i], ARGV[i + 1], ARGV[i + 1] .. '\n' .. ARGV[i + 2]
  local stored = redis.call('HGET', cron, entry)
  -- Another process may have changed the entry since it was read.
  if stored and string.match(stored, '^%d+') == since and redis.call('HGET', KEYS[1], entry) ~= text then
    fields[#fields + 1] = entry
    fields[#fields + 1] = text
  end
end
local gone, count = {}, #fields / 2
if redis.call('HLEN', KEYS[1]) + count > redis.call('HLEN', cron) then
  local known = redis.call('HGETALL', KEYS[1])
  for i = 1, #known, 2 do
    if redis.call('HEXISTS', cron, known[i]) == 0 then gone[#gone + 1] = known[i] end
  end
end

if count > 0 then redis.call('HSET', KEYS[1], unpack(fields)) end
for i = 1, #gone do redis.call('HDEL', KEYS[1], gone[i]) end

return {'noted', count + #gone}
