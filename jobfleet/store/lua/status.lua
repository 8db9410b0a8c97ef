-- status: what is known of some jobs, wherever they stand.
--
-- KEYS    1 lane        hash    names the slot
-- READS   result:<id>   string  how it ended
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
-- RETURNS {"status", now, {word, …}, …}   one an id:
--         {final, result, progress} | {dead, record, progress, reason, tries} | {running, run, progress, tries, envelope}
--         | {waiting, band, due, tries, envelope, progress} | {unknown}
-- EMITS   -
-- COST    O(ids · log ready)
-- @include lib/clock
-- @include lib/number

local tag = ARGV[1]

local function dead_letter(id, progress)
  local entry = redis.call('HGET', tag .. 'dead', id)
  local found = entry and redis.call('XRANGE', tag .. 'dlq', entry, entry)
  if not found or not found[1] then return {'unknown'} end
  local values = {}
  for i = 1, #found[1][2], 2 do values[found[1][2][i]] = found[1][2][i + 1] end
  return {'dead', values.record, progress, values.reason, values.tries}
end

local function look(id)
  local progress = redis.call('GET', tag .. 'progress:' .. id) or ''
  local result = redis.call('GET', tag .. 'result:' .. id)
  if result then return {'final', result, progress} end
  local envelope = redis.call('GET', tag .. 'job:' .. id) or ''
  local tries = redis.call('HGET', tag .. 'tries', id) or ''
  local run = redis.call('HGET', tag .. 'runs', id)
  if run then return {'running', run, progress, tries, envelope} end
  for band = 0, 3 do
    local due = redis.call('ZSCORE', tag .. 'ready:' .. band, id)
    if due then return {'waiting', int(band), due, tries, envelope, progress} end
  end
  return dead_letter(id, progress)
end

local reply = {'status', int(now_us())}
for i = 2, #ARGV do reply[i + 1] = look(ARGV[i]) end
return reply
