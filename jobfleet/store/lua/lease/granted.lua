-- granted: the grants of a child's last claim, read from its runs, for a claim whose reply was garbled by invalid ids.
--
-- KEYS    1 runs        hash    id → run
-- READS   tries         hash    id → tries
--         meta          hash    id → clear record
--         job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 child       text    child id
--         3 token       text    the first of that claim
-- FLAGS   no-writes
-- RETURNS {"granted", now, {id, token, run, envelope, tries, meta}, …}
-- EMITS   -
-- COST    O(runs)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/job/records

local tag, child, token = ARGV[1], ARGV[2], tonumber(ARGV[3])

local rows, reply = redis.call('HGETALL', KEYS[1]), {'granted', int(now_us())}
local ids, runs = {}, {}
for i = 1, #rows, 2 do
  local run = run_parts(rows[i + 1])
  if run.child == child and tonumber(run.token) >= token then
    ids[#ids + 1], runs[#runs + 1] = rows[i], rows[i + 1]
  end
end
for from = 1, #ids, 50 do
  local upto = math.min(from + 49, #ids)
  local found = read_records(tag, {unpack(ids, from, upto)}, {unpack(runs, from, upto)})
  for i = 1, #found do reply[#reply + 1] = found[i] end
end
return reply
