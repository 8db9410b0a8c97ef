-- bury: refuse a dead child's later claims, and return the runs that it still holds.
--
-- KEYS    1 claim:<child> string its last claim
-- READS   runs          hash    id → run
--         tries         hash    id → tries
--         meta          hash    id → clear record
--         job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 child       text    child id
--         3..* pair     text    id and token from its board, alternating; at most 50 pairs
-- FLAGS   allow-oom
-- RETURNS {"buried", now, {{id, token, run, envelope, tries, meta}, …}}
-- EMITS   -
-- COST    O(held)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/job/records
-- @include lib/job/memory

local tag, child = ARGV[1], ARGV[2]
local now = now_us()

-- A board may show a job twice: code of an earlier run that cannot be stopped, and a later run.
local asked, tokens = {}, {}
local function ask(id, token)
  if not tokens[id] then
    asked[#asked + 1], tokens[id] = id, {}
  end
  tokens[id][token] = true
end
for i = 3, #ARGV, 2 do ask(ARGV[i], ARGV[i + 1]) end
local last = redis.call('GET', KEYS[1])
if last then
  local were, with = recall(last)
  for i = 1, #were do ask(were[i], with[i]) end
end
local ids, runs = {}, {}
if #asked > 0 then
  local found = redis.call('HMGET', tag .. 'runs', unpack(asked))
  for i = 1, #asked do
    local run = found[i] and run_parts(found[i])
    -- An unreadable record does not show its child; the dead child's board does.
    if run and (run.token == '0' or tokens[asked[i]][run.token] and run.child == child) then
      ids[#ids + 1] = asked[i]
      runs[#runs + 1] = found[i]
    end
  end
end
local records = read_records(tag, ids, runs)

-- Its last claim is kept, so that a repeated call returns the same.
redis.call('SET', KEYS[1], 'buried' .. (string.match(last or '', '\n.*$') or ''), 'PX', 3600000)

return {'buried', int(now), records}
