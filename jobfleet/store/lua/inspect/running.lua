-- running: a page of the running jobs, by lease deadline.
--
-- With `bare`, the jobs that have no run are there too, and the last three parts of each row are empty.
--
-- KEYS    1 lease       zset    running ids by lease deadline (µs)
-- READS   runs          hash    id → run
--         tries         hash    id → tries
--         job:<id>      string  envelope
--         progress:<id> string  last progress
-- ARGV    1 tag         text    the lane's prefix
--         2 skip        int     number of entries to skip
--         3 limit       int     1..50; up to 500 with bare
--         4 bare        int     1 for ids, deadlines and runs only, else 0
-- FLAGS   no-writes
-- RETURNS {"running", now, {id, deadline, run, tries, envelope, progress}, …}
-- EMITS   -
-- COST    O(skip + limit)
-- @include lib/base/clock
-- @include lib/base/number

local tag, skip, limit, bare = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local stamp = int(now_us())

local found = redis.call('ZRANGE', KEYS[1], skip, skip + limit - 1, 'WITHSCORES')
local ids, envelopes, progress = {}, {}, {}
for i = 1, #found, 2 do
  ids[#ids + 1] = found[i]
  envelopes[#ids] = tag .. 'job:' .. found[i]
  progress[#ids] = tag .. 'progress:' .. found[i]
end
if #ids == 0 then return {'running', stamp} end
local runs = redis.call('HMGET', tag .. 'runs', unpack(ids))
if bare then
  local reply = {'running', stamp}
  for i = 1, #ids do reply[i + 2] = {ids[i], found[2 * i], runs[i] or '', '', '', ''} end
  return reply
end
local tries = redis.call('HMGET', tag .. 'tries', unpack(ids))
envelopes = redis.call('MGET', unpack(envelopes))
progress = redis.call('MGET', unpack(progress))

local reply = {'running', stamp}
for i = 1, #ids do
  if runs[i] then
    reply[#reply + 1] = {ids[i], found[2 * i], runs[i], tries[i] or '', envelopes[i] or '', progress[i] or ''}
  end
end
return reply
