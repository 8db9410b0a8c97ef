-- progress: store and publish the last progress of running jobs; a report that is older than the last one is skipped.
--
-- KEYS    1 runs        hash    id → run
--         2..* progress:<id> string two keys per item: progress:<id>, reported:<id>
-- READS   listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms
--         3..* item     text    four per item: id, token, n, record
-- FLAGS   allow-oom
-- RETURNS {"progressed", letters}   o stored or skipped; l lost, c like o, but the job must be cancelled
-- EMITS   progressed
-- COST    O(items)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/events/event

local tag, ttl = ARGV[1], ARGV[2]
local now = now_us()

local items, ids, numbers = (#ARGV - 2) / 4, {}, {}
for i = 1, items do ids[i], numbers[i] = ARGV[4 * i - 1], KEYS[2 * i + 1] end
local runs = redis.call('HMGET', KEYS[1], unpack(ids))
local known = redis.call('MGET', unpack(numbers))

local heard = is_heard(tag)

local letters, events, last = {}, {}, {}
for i = 1, items do
  local run, token = runs[i] and run_parts(runs[i]), ARGV[4 * i]
  if not run or run.token ~= token then
    letters[i] = 'l'
  else
    letters[i] = run.cancel == '' and 'o' or 'c'
    local of, before = string.match(known[i] or '', '^(%d+) (%d+)$')
    local n, newest = tonumber(ARGV[4 * i + 1]), last[ids[i]] or of == token and tonumber(before) or -1
    if n > newest then
      last[ids[i]] = n
      redis.call('SET', KEYS[2 * i], ARGV[4 * i + 2], 'PX', ttl)
      redis.call('SET', KEYS[2 * i + 1], token .. ' ' .. int(n), 'PX', ttl)
      if heard then events[#events + 1] = {'progressed', ids[i], token, ARGV[4 * i + 1]} end
    end
  end
end

emit(tag, now, events)
return {'progressed', table.concat(letters)}
