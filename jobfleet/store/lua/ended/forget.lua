-- forget: erase an ended job, so that its lane keeps nothing about it.
--
-- KEYS    1 dlq         stream  dead letters
--         2 dead        hash    id → entry in dlq
--         3 unique      hash    key → lock
--         4 locks       zset    keys held for a time, by its end (µs)
--         5 journal     stream  lifecycle events
--         6 totals      hash    counts
--         7 dependants:<id> zset dependants by the last ending of which they were notified (ms)
--         8 result:<id> string  its ending
--         9 value:<id>  string  its record, if it is stored for a shorter time
--         10 progress:<id> string last progress
--         11 reported:<id> string number of the last report of progress
--         12 log:<id>   list    last lines of its log
--         13 steps:<id> hash    step → encoded result
--         14 chunks:<id> stream its output
--         15 parents:<id> hash  its parents, and the ending of each
--         16 indexes    zset    index → time of its next cleaning (µs)
--         17 filed      zset    names with the entries and ids of their letters
--         18 filing     hash    id → what is filed of its letter; mark
--         19..* index:<name> zset each index of the job
-- READS   job:<id>      string  whether the job is open
--         runs          hash    id → run
--         conf          hash    journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 who         text    requester; - if unknown
--         4 key         text    its unique key; empty for none
--         5 dependants  int     number of dependants that the caller has seen, none of which waits for it
--         6 archived    int     1 if the archive has the job: the event is written even if the lane has nothing
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"forgotten", now, known} | {"open"} | {"awaited"}   known: 1 if the lane had anything about the job
--         awaited: it has more dependants than the caller has seen
-- EMITS   forgotten
-- COST    O(indexes · log n + lines + steps + chunks)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/unique
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/dead/filed

local tag, id, who, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = now_us()

if redis.call('EXISTS', tag .. 'job:' .. id) == 1 or redis.call('HEXISTS', tag .. 'runs', id) == 1 then return {'open'} end
if redis.call('ZCARD', KEYS[7]) > tonumber(ARGV[5]) then return {'awaited'} end
local entry = redis.call('HGET', KEYS[2], id)
local value = key ~= '' and redis.call('HGET', KEYS[3], key)
local holds = value and lock_of(value).id == id
local journal = redis.call('HGET', tag .. 'conf', 'journal')
local heard = is_heard(tag)
local notes = notes_of(KEYS[17], KEYS[18], {id})

local gone = redis.call('UNLINK', unpack(KEYS, 7, 15))
for i = 19, #KEYS do
  gone = gone + redis.call('ZREM', KEYS[i], id)
  if redis.call('EXISTS', KEYS[i]) == 0 then redis.call('ZREM', KEYS[16], string.sub(KEYS[i], #tag + 7)) end
end
if entry then
  if string.find(entry, '^%d+%-%d+$') then redis.call('XDEL', KEYS[1], entry) end
  gone = gone + redis.call('HDEL', KEYS[2], id)
  unfile(KEYS[17], KEYS[18], {id}, notes)
end
if holds then
  gone = gone + redis.call('HDEL', KEYS[3], key)
  redis.call('ZREM', KEYS[4], key)
end

local events = {}
if gone > 0 or ARGV[6] == '1' then events[1] = {'forgotten', id, '0', 0, words = who} end
if journal then write_journal(KEYS[5], KEYS[6], journal, events, int(now)) end
if heard then emit(tag, now, events) end
return {'forgotten', int(now), gone > 0 and 1 or 0}
