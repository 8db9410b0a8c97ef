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
-- ARGV    1 tag         text    the lane's prefix
--         2..* id       text    job id; at most 50
-- FLAGS   no-writes
-- RETURNS {"status", now, {word, …}, …}   one per id:
--         {final, result, progress} | {dead, record, progress, reason, tries} | {running, run, progress, tries, envelope}
--         | {waiting, band, due, tries, envelope, progress} | {unknown}
-- EMITS   -
-- COST    O(ids · log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/look

local tag = ARGV[1]

local reply = {'status', int(now_us())}
for i = 2, #ARGV do reply[i + 1] = look(tag, ARGV[i]) end
return reply
