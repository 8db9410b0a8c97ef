-- ledger: record outcomes of fires of one cron entry; the first record of a fire is kept.
--
-- KEYS    1 cron-ledger:<entry> zset its fires by time
--         2 cron        hash    entry → since (µs), fingerprint, record
-- ARGV    1 most        int     notes kept
--         2 entry       text    its name
--         3..* note     text    two per fire: its time (µs), its outcome
-- FLAGS   allow-oom
-- RETURNS {"noted", count} | {"gone"}   gone: there is no such entry
-- EMITS   -
-- COST    O(fires · log ledger)

local most = tonumber(ARGV[1])

-- An operator may have removed the entry since the fire: nothing would delete a ledger that begins now.
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return {'gone'} end

local notes = {}
for i = 3, #ARGV, 2 do
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
