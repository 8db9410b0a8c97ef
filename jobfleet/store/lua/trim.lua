-- trim: let go what is older, or more, than is kept. One bounded step; the caller repeats while it answers more.
--
-- KEYS    1 done        stream  finished jobs
--         2 dlq         stream  dead letters
--         3 dead        hash    id → entry in dlq
--         4 unique      hash    key → lock
--         5 locks       zset    keys held for a time, by when that is over (µs)
-- ARGV    1 done_before int     ms since 1970; batches finished before go
--         2 dead_before int     ms since 1970; dead letters from before go
--         3 dead_max    int     how many dead letters stay at most
-- FLAGS   allow-oom
-- RETURNS {"trimmed", batches, letters, more}   more is 1 when letters or locks are left to let go
-- EMITS   -
-- COST    O(batches + 50)
-- @include lib/clock
-- @include lib/number
-- @include lib/unique

local done_before, dead_before, dead_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local excess = redis.call('XLEN', KEYS[2]) - dead_max
local found = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 50)
local entries, ids = {}, {}
for i = 1, #found do
  local entry, fields = found[i][1], found[i][2]
  if i <= excess or tonumber(string.match(entry, '^(%d+)')) < dead_before then
    entries[#entries + 1] = entry
    for k = 1, #fields, 2 do
      if fields[k] == 'id' then ids[#ids + 1] = fields[k + 1] end
    end
  end
end

-- An id may have died twice; its field names the newer letter.
local named = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}
local forgotten = {}
for i = 1, #ids do
  if named[i] == entries[i] then forgotten[#forgotten + 1] = ids[i] end
end

local over, free = stale_locks(KEYS[4], KEYS[5], now_us(), 50)

local batches = redis.call('XTRIM', KEYS[1], 'MINID', '~', done_before)
if #entries > 0 then
  redis.call('XDEL', KEYS[2], unpack(entries))
  if #forgotten > 0 then redis.call('HDEL', KEYS[3], unpack(forgotten)) end
end
drop_locks(KEYS[4], KEYS[5], over, free)

return {'trimmed', batches, #entries, (#entries == 50 or #over == 50) and 1 or 0}
