-- status: the states of some jobs.
--
-- KEYS    1 lane        hash    names the slot
-- READS   result:<id>   string  its ending
--         value:<id>    string  its record, if it is stored for a shorter time
--         progress:<id> string  last progress
--         runs          hash    id → run
--         tries         hash    id → tries
--         dead          hash    id → entry in dlq
--         dlq           stream  dead letters
--         job:<id>      string  envelope
--         ready:0       zset    job ids by due time (µs)
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
--         steps:<id>    hash    the wait of the job, under @
--         meta          hash    id → clear record, since when it waits
-- ARGV    1 tag         text    the lane's prefix
--         2 most        int     bytes after which the other jobs are left out; at least one is read
--         3 bare        int     1: no envelopes
--         4..* id       text    job id; at most 50
-- FLAGS   no-writes
-- RETURNS {"status", now, {word, …}, …}   one per id, the first ones at least:
--         {final, result, progress} | {dead, record, progress, reason, tries} | {running, run, progress, tries, envelope}
--         | {waiting, band, due, tries, envelope, progress, since and signal of a wait in a run} | {unknown}
-- EMITS   -
-- COST    O(ids · log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/look

local tag = ARGV[1]

local left = tonumber(ARGV[2])
local is_bare = ARGV[3] == '1'
local now = now_us()
local reply = {'status', int(now)}

-- The place of the envelope in the row of an open job.
local ENVELOPE = {running = 5, waiting = 5}

for i = 4, #ARGV do
  if left <= 0 then break end
  local row = look(tag, ARGV[i], now)
  if is_bare and ENVELOPE[row[1]] then row[ENVELOPE[row[1]]] = '' end
  for j = 2, #row do left = left - #tostring(row[j]) end
  reply[#reply + 1] = row
end
return reply
