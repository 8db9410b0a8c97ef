-- unpark: let a sequence go on behind a head that has failed.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 meta        hash    id → clear record
--         7 grouped     zset    waiting jobs of groups
--         8 ring        zset    groups by their turn
--         9 gdue        zset    groups by the time of the next check of their turn (µs)
-- READS   job:<id>      string  envelope
--         parents:<id>  hash    number of open parents of the next job of a sequence
--         conf          hash    paused
-- ARGV    1 tag         text    the lane's prefix
--         2 group       text    its name
--         3 head        text    the head that is meant
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"unparked", fresh}   fresh is 0 if it is not parked behind that head
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/ending/batch

local tag, group, head = ARGV[1], ARGV[2], ARGV[3]
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], wake = KEYS[5], meta = KEYS[6], grouped = KEYS[7],
  ring = KEYS[8], gdue = KEYS[9],
}
local now = now_us()

local is_head = redis.call('ZSCORE', keys.grouped, 'h' .. group .. '\0' .. head)
if not is_head or redis.call('EXISTS', tag .. 'job:' .. head) == 1 then return {'unparked', 0} end
local failing = redis.call('ZRANGEBYLEX', keys.grouped, '[f' .. group .. '\0', '(f' .. group .. '\1')

local batch = new_batch(now)
batch.paused = redis.call('HGET', tag .. 'conf', 'paused')
batch.strict = {{id = head, meta = 'g ' .. group .. '\no s\nn 0'}}
for i = 1, #failing do redis.call('ZREM', keys.grouped, failing[i]) end
flush(batch, keys, tag)

return {'unparked', 1}
