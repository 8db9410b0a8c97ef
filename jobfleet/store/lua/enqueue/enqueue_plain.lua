-- enqueue_plain: the fast path for jobs that are due now, of NORMAL priority, and have no clear record.
--
-- KEYS    1 ready:2     zset    job ids by due time (µs), NORMAL
--         2 wake        zset    marker on which idle children block
--         3 totals      hash    counts
--         4..* job:<id> string  envelope, one key per item, none twice
-- READS   conf          hash    whether anything is set
--         listeners     string  whether the events have a listener
--         result:<id>   string  tombstone
-- ARGV    1 tag         text    the lane's prefix
--         2..* item     bytes   one per item: envelope
-- FLAGS   -
-- RETURNS {"enqueued", letters}  c created, e exists
--         {"longer"}             there are settings or listeners: nothing was done, use enqueue
-- EMITS   -
-- COST    O(items · log ready)
-- @include lib/base/stamp

local KEYS, ARGV, sub = KEYS, ARGV, string.sub  -- locals are faster in a loop

local tag = ARGV[1]
local count, from = #ARGV - 1, #tag + 5  -- an id starts after the tag and "job:"
local stamp = now_stamp()

local asked, envelopes, standing, result = {tag .. 'conf', tag .. 'listeners'}, {}, {}, tag .. 'result:'
for i = 1, count do
  local key, at = KEYS[3 + i], 2 * i
  local id = sub(key, from)
  asked[2 + i] = result .. id
  envelopes[at - 1], envelopes[at] = key, ARGV[1 + i]
  standing[at - 1], standing[at] = stamp, id
end

local known = redis.call('EXISTS', unpack(asked)) > 0
if known and redis.call('EXISTS', asked[1], asked[2]) > 0 then return {'longer'} end

local letters
if known or redis.call('MSETNX', unpack(envelopes)) == 0 then  -- then one by one
  letters, standing = {}, {}
  for i = 1, count do
    local key = KEYS[3 + i]
    letters[i] = 'e'
    if redis.call('EXISTS', key, asked[2 + i]) == 0 then
      redis.call('SET', key, ARGV[1 + i])
      letters[i] = 'c'
      standing[#standing + 1] = stamp
      standing[#standing + 1] = sub(key, from)
    end
  end
end

if #standing > 0 then
  local added = redis.pcall('ZADD', KEYS[1], unpack(standing))
  if type(added) == 'table' then  -- the key has a wrong type: no envelope may remain without an entry (docs/adr/0012)
    for i = 2, #standing, 2 do redis.call('UNLINK', tag .. 'job:' .. standing[i]) end
    return added
  end
  redis.call('HINCRBY', KEYS[3], 'enqueued', #standing / 2)
  redis.call('ZADD', KEYS[2], 0, 'w')
end
return {'enqueued', letters and table.concat(letters) or string.rep('c', count)}
