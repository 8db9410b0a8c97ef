-- sequences: the strict sequences of a lane, or one of them with its first jobs.
--
-- KEYS    1 lane        hash    hold
-- READS   grouped       zset    waiting jobs of groups
--         runs          hash    id → run
--         ready:0       zset    job ids by due time (µs)
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
--         steps:<id>    hash    the wait of a head, under @
-- ARGV    1 tag         text    the lane's prefix
--         2 group       text    only this group; "" for all
--         3 after       text    the last group of the page before; "" for the first page
--         4 limit       int     most groups, or most jobs of the one group
-- FLAGS   no-writes
-- RETURNS {"sequences", now, {group, head, state, due, number, {id, …}, signal}, …}   state: see lib/group/head_state, or failing:
--         the head has failed, and the rest fails because of it; number of jobs behind the head; ids of one group only
-- EMITS   -
-- COST    O(limit · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/group/sequence
-- @include lib/group/head_state

local tag, group, after, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local grouped = tag .. 'grouped'

local heads
if group ~= '' then
  heads = redis.call('ZRANGEBYLEX', grouped, '[h' .. group .. '\0', '(h' .. group .. '\1', 'LIMIT', 0, 1)
else
  heads = redis.call('ZRANGEBYLEX', grouped, after == '' and '[h' or '(h' .. after .. '\1', '(i', 'LIMIT', 0, limit)
end

local reply = {'sequences', int(now_us())}
for i = 1, #heads do
  local at = string.find(heads[i], '\0', 1, true)
  if at then
    local name, head = string.sub(heads[i], 2, at - 1), string.sub(heads[i], at + 1)
    local from, to = '[s' .. name .. '\0', '(s' .. name .. '\1'
    local state, due, signal = head_state(tag, head)
    local number = redis.call('ZLEXCOUNT', grouped, from, to) - (state ~= 'parked' and 1 or 0)
    if state == 'parked' and first_in(grouped, 'f', name) then state = 'failing' end
    local ids = {}
    if group ~= '' then
      local found = redis.call('ZRANGEBYLEX', grouped, from, to, 'LIMIT', 0, limit + 1)
      for n = 1, #found do
        local id = string.sub(found[n], #name + 20)
        if id ~= head then ids[#ids + 1] = id end
      end
    end
    reply[#reply + 1] = {name, head, state, due, number, ids, signal or ''}
  end
end
return reply
