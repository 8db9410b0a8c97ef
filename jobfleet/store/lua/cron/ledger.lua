-- ledger: note what became of fires of one cron entry; the first note on a fire stands.
--
-- KEYS    1 cron-ledger:<entry> zset its fires by time
-- ARGV    1 most        int     notes kept
--         2..* note     text    two a fire: its time (µs), what became of it
-- FLAGS   allow-oom
-- RETURNS {"noted", count}
-- EMITS   -
-- COST    O(fires · log ledger)

local most = tonumber(ARGV[1])

local notes = {}
for i = 2, #ARGV, 2 do
  local at = ARGV[i]
  if #redis.call('ZRANGEBYSCORE', KEYS[1], at, at, 'LIMIT', 0, 1) == 0 then
    notes[#notes + 1] = at
    notes[#notes + 1] = at .. ' ' .. ARGV[i + 1]
  end
end

if #notes > 0 then
  redis.call('ZADD', KEYS[1], unpack(notes))
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -most - 1)
end

return {'noted', #notes / 2}
