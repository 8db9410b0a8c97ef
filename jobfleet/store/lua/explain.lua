-- explain: what a job's start depends on, as claim sees it at this moment.
--
-- KEYS    1 lane        hash    hold
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
--         lease         zset    running ids by lease deadline (µs)
--         meta          hash    id → clear record
--         conf          hash    paused, functions
--         watched       hash    ids that dependants wait for
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
-- FLAGS   no-writes
-- RETURNS {"explained", now, {word, …}, {name, value, …}}   what `status` answers of the job, and facts:
--         meta, paused (who@when reason), functions that are paused (a line each), deadline of its lease, hold, watched,
--         due:<p> jobs due now in each band, rank in its own
-- EMITS   -
-- COST    O(log n)
-- @include lib/clock
-- @include lib/number
-- @include lib/look

local tag, id = ARGV[1], ARGV[2]
local stamp = int(now_us())

local found = look(tag, id)
local facts = {
  'meta', redis.call('HGET', tag .. 'meta', id) or '',
  'paused', redis.call('HGET', tag .. 'conf', 'paused') or '',
  'functions', redis.call('HGET', tag .. 'conf', 'functions') or '',
  'deadline', redis.call('ZSCORE', tag .. 'lease', id) or '0',
  'watched', redis.call('HEXISTS', tag .. 'watched', id),
  'hold', redis.call('HGET', KEYS[1], 'hold') or '0',
}
for band = 0, 3 do
  facts[#facts + 1] = 'due:' .. band
  facts[#facts + 1] = redis.call('ZCOUNT', tag .. 'ready:' .. band, '-inf', stamp)
end
if found[1] == 'waiting' then
  facts[#facts + 1] = 'rank'
  facts[#facts + 1] = redis.call('ZRANK', tag .. 'ready:' .. found[2], id)
end

return {'explained', stamp, found, facts}
