-- trim: delete old and excess data. One limited step; the caller repeats it while more is left.
--
-- KEYS    1 done        stream  finished jobs
--         2 dlq         stream  dead letters
--         3 dead        hash    id → entry in dlq
--         4 unique      hash    key → lock
--         5 locks       zset    keys held for a time, by its end (µs)
--         6 filed       zset    names with the entries and ids of their letters
--         7 filing      hash    id → what is filed of its letter; mark
-- ARGV    1 done_before int     ms since 1970; older batches are deleted
--         2 dead_before int     ms since 1970; older dead letters are deleted
--         3 dead_max    int     maximum number of dead letters
-- FLAGS   allow-oom
-- RETURNS {"trimmed", batches, letters, more}   more is 1 if letters or locks remain to be deleted
-- EMITS   -
-- COST    O(batches + 50), and 1 MiB of letters beside the first
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/unique
-- @include lib/dead/filed

local done_before, dead_before, dead_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local excess = redis.call('XLEN', KEYS[2]) - dead_max
local entries, ids, bytes, is_over = {}, {}, 0, false
-- A stream returns ids only with their contents. Therefore letters are read one at a time, then more while they are
-- small, up to `MOST` bytes; with large letters, the caller calls again.
local MOST, after, step = 1048576, '-', 1
while not is_over and #entries < 50 and bytes < MOST do
  local found = redis.call('XRANGE', KEYS[2], after, '+', 'COUNT', math.min(step, 50 - #entries))
  is_over = #found == 0
  for i = 1, #found do
    local entry, fields = found[i][1], found[i][2]
    local goes = #entries < excess or tonumber(string.match(entry, '^(%d+)')) < dead_before
    if not goes then
      is_over = true
      break
    end
    entries[#entries + 1], ids[#entries + 1] = entry, ''
    for k = 1, #fields, 2 do
      bytes = bytes + #fields[k + 1]
      if fields[k] == 'id' then ids[#entries] = fields[k + 1] end
    end
    after = '(' .. entry
  end
  step = bytes / math.max(1, #entries) * 8 < MOST / 50 and 50 or step
end

-- An id may have died twice; its field names the newer letter.
local named = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}
local forgotten = {}
for i = 1, #ids do
  if named[i] == entries[i] then forgotten[#forgotten + 1] = ids[i] end
end
local notes = notes_of(KEYS[6], KEYS[7], forgotten)

local over, free = stale_locks(KEYS[4], KEYS[5], now_us(), 50)

local batches = redis.call('XTRIM', KEYS[1], 'MINID', '~', done_before)
if #entries > 0 then
  redis.call('XDEL', KEYS[2], unpack(entries))
  if #forgotten > 0 then redis.call('HDEL', KEYS[3], unpack(forgotten)) end
  unfile(KEYS[6], KEYS[7], forgotten, notes)
end
drop_locks(KEYS[4], KEYS[5], over, free)

local more = not is_over and #entries > 0 or #over == 50
return {'trimmed', batches, #entries, more and 1 or 0}
