-- kinds: the kinds of live workers, and their functions.
--
-- KEYS    1 kinds       zset    kinds by last beat (µs)
--         2 workers     zset    worker ids by last beat (µs)
--         3 functions   hash    function → queue and options
-- READS   kind:<kind>   hash    function → its queue; "" → the queues that the kind serves
--         knowers:<kind> zset   its workers by last beat (µs)
-- ARGV    1 tag         text    the fleet's prefix
--         2 gone        int     µs after which a silent worker counts as gone
--         3 function    text    the requested function; empty for none
--         4 had         text    kinds whose functions the caller knows, with a space before and after each
-- FLAGS   no-writes
-- RETURNS {"kinds", now, others, {kind, worker, {function, queue, …}, …}}   worker: one of the kind; no functions for kinds in had
--         others: number of live workers without a kind, if the requested function was ever published; else 0
-- EMITS   -
-- COST    O(kinds + functions)
-- @include lib/base/clock
-- @include lib/base/number

local MOST = 200
local tag, gone = ARGV[1], tonumber(ARGV[2])
local now = now_us()
local since = int(now - gone)

local rows, telling = {}, 0
local kinds = redis.pcall('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'LIMIT', 0, MOST)
for i = 1, #kinds do
  local kind = kinds[i]
  local knowers = tag .. 'knowers:' .. kind
  -- A foreign value of another type: no worker's functions are known from it.
  local worker = redis.pcall('ZREVRANGEBYSCORE', knowers, '+inf', since, 'LIMIT', 0, 1)[1]
  local functions_of_kind = worker and redis.pcall('HGETALL', tag .. 'kind:' .. kind)
  if worker and not functions_of_kind.err then
    telling = telling + redis.call('ZCOUNT', knowers, since, '+inf')
    local is_had = string.find(ARGV[4], ' ' .. kind .. ' ', 1, true)
    local n = #rows
    rows[n + 1], rows[n + 2], rows[n + 3] = kind, worker, is_had and {} or functions_of_kind
  end
end
local others = 0
if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 then
  others = math.max(0, redis.call('ZCOUNT', KEYS[2], since, '+inf') - telling)
end

return {'kinds', int(now), others, rows}
