-- signal: store a signal for an open job; if the job waits for it, make the job due now.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 steps:<id>  hash    step → encoded result; bytes of all under the empty name, the wait of the job under @
--         6 wake        zset    marker on which idle children block
--         7 grouped     zset    waiting jobs of groups
--         8 ring        zset    groups by their turn
--         9 gdue        zset    groups by the time of the next check of their turn (µs)
--         10 journal    stream  lifecycle events
--         11 totals     hash    counts
--         12 meta       hash    id → clear record
-- READS   job:<id>      string  envelope
--         tries         hash    id → tries
--         dead          hash    id → entry in dlq
--         result:<id>   string  its ending
--         conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 name        text    the name of the signal
--         4 record      text    its encoded value
--         5 who         text    requester; - if unknown
--         6 nonce       text    the same in each repetition
--         7 ttl         int     ms for which it is kept after the end of the job
--         8 most        int     maximum number of records per job
--         9 most_bytes  int     maximum number of bytes per job
--         10 proven     text    the record under the name that only tokens send, \31 and the name; empty without a token
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"signalled", now, letter}   s sent, k another one came first (that of a token is stored all the same), f final,
--         u unknown, m the job keeps too much
-- EMITS   signalled
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/waiting/score
-- @include lib/job/keep_open
-- @include lib/job/life

local tag, id, field, record, nonce, proven = ARGV[1], ARGV[2], 'x:' .. ARGV[3], ARGV[4], ARGV[6], ARGV[10]
local has_token, own = proven ~= '', 'x:\31' .. ARGV[3]
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], wake = KEYS[6], grouped = KEYS[7],
  ring = KEYS[8], gdue = KEYS[9], journal = KEYS[10], totals = KEYS[11],
}
local now = now_us()
local stamp = int(now)

if redis.call('EXISTS', tag .. 'job:' .. id) == 0 then
  local is_known = redis.call('EXISTS', tag .. 'result:' .. id) == 1 or redis.call('HEXISTS', tag .. 'dead', id) == 1
  return {'signalled', stamp, is_known and 'f' or 'u'}
end
local known = redis.call('HGET', KEYS[5], has_token and own or field)
if known then return {'signalled', stamp, string.match(known, '^%d+ ([^\n]*)\n') == nonce and 's' or 'k'} end
local bytes = redis.call('HGET', KEYS[5], '')
local is_second = has_token and redis.call('HEXISTS', KEYS[5], field) == 1  -- one without a token came first
local held = tonumber(bytes or '0') + (is_second and 0 or #record) + #proven
if held > tonumber(ARGV[9]) or redis.call('HLEN', KEYS[5]) > tonumber(ARGV[8]) then return {'signalled', stamp, 'm'} end

local place, score
for band = 0, 3 do
  local found = redis.call('ZSCORE', keys['ready' .. band], id)
  if found then place, score = band, found end
end
local due = score and (is_blocked(score) and now + 31536000000000 or due_of_score(score)) or now
local till, name = string.match(redis.call('HGET', KEYS[5], '@') or '', '^(%d+) (.*)$')
local is_named = (name == ARGV[3] and not is_second) or (has_token and name == '\31' .. ARGV[3])
local is_awaited = place and is_named and not is_withheld(score) and due > now and int(due) == till
local item = {id = id, meta = place and redis.call('HGET', KEYS[12], id) or nil}
item.tries = redis.call('HGET', tag .. 'tries', id) or nil
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')

local batch = new_batch(now)
batch.paused, batch.journal, batch.heard = conf[1], conf[2], is_heard(tag)
local head = stamp .. ' ' .. nonce .. '\n'
keep_open(KEYS[12], id, ARGV[7])
redis.call('HSET', KEYS[12], id, with_event(redis.call('HGET', KEYS[12], id) or '', 'signalled', stamp, ARGV[5], ARGV[3]))
if not is_second then redis.call('HSET', KEYS[5], field, head .. record) end
if has_token then redis.call('HSET', KEYS[5], own, head .. proven) end
redis.call('HSET', KEYS[5], '', int(held))
outlive(KEYS[5])
if is_awaited then
  if tonumber(score) < 0 then leave(batch, keys, item, place, score) end
  stand(batch, keys, item, place, now)
end
count(batch, 'signalled', 1)
note(batch, 'signalled', id, '0', ARGV[3] .. ' ' .. ARGV[5], nil, nil, item.tries)
flush(batch, keys, tag)

return {'signalled', stamp, (is_second and not is_awaited) and 'k' or 's'}
