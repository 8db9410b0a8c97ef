-- explain: everything that a job's start depends on, as claim sees it now.
--
-- KEYS    1 lane        hash    hold
-- READS   result:<id>   string  its ending
--         value:<id>    string  its record, if it is stored for a shorter time
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
--         conf          hash    paused, limits, declared limits, functions
--         grouped       zset    waiting jobs of groups
--         ring          zset    groups by their turn
--         held          zset    running jobs of groups
--         rates         zset    groups by the time at which their tokens are full again (µs)
--         watched       hash    ids of jobs with dependants
--         steps:<id>    hash    the wait of the job or of the head of its sequence, under @
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
-- FLAGS   no-writes
-- RETURNS {"explained", now, {word, …}, {name, value, …}}   the reply of `status` for the job, and facts:
--         meta, paused (who@when reason), paused functions (one line each), deadline of its lease, hold, watched,
--         wait (end and signal of the last wait in a run, of a job that waits),
--         due:<p> jobs that are due in each band, rank in its own;
--         limit of the lane (most running token, a token's time, functions that declare its concurrency, and its rate;
--         - for none), and of its group: its name, paused (who@when reason), limit, holders (ids, at most 5), ahead (jobs
--         of its own before it), turns (groups that take turns in its band); of a strict sequence: sequence (the
--         state and the due time of its head, the number of jobs before this one, and the signal that the head waits for,
--         separated by spaces; then a line break and the head)
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/score
-- @include lib/job/look
-- @include lib/base/meta
-- @include lib/group/limit
-- @include lib/group/declared
-- @include lib/group/turn
-- @include lib/group/sequence
-- @include lib/group/head_state

local tag, id = ARGV[1], ARGV[2]
local now = now_us()
local stamp = int(now)

local found = look(tag, id, now)
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
  local key = tag .. 'ready:' .. band
  facts[#facts + 1] = redis.call('ZCOUNT', key, FIRST_PLAIN, stamp) + redis.call('ZCOUNT', key, '-inf', grouped_score(now))
end
if found[1] == 'waiting' then
  facts[#facts + 1], facts[#facts + 2] = 'wait', redis.call('HGET', tag .. 'steps:' .. id, '@') or ''
  facts[#facts + 1] = 'rank'
  local key = tag .. 'ready:' .. found[2]
  facts[#facts + 1] = math.max(0, redis.call('ZRANK', key, id) - redis.call('ZCOUNT', key, '-inf', '(' .. FIRST_PLAIN))
end

local function add(name, value)
  facts[#facts + 1], facts[#facts + 2] = name, value
end

-- A limit and its usage: "most running token", the time of the next token; 0 for none. Then the functions that declare the
-- concurrency and the rate; `lines` has the fields of the limit and their lines, the one that comes first last.
local conf = tag .. 'conf'
local places = declarations_of(redis.call('HGET', conf, 'declared'))
local function limit_words(limits, running, name, lines)
  local room = room_of(limits, running, redis.call('ZSCORE', tag .. 'rates', name), now)
  local token = room.full and token_after(room, 0) or 0
  local by = {'-', '-'}
  for word = 1, 2 do
    for i = 1, #lines, 2 do
      if lines[i + 1] and words_of(lines[i + 1])[word] ~= '-' then by[word] = declared_by(conf, places, lines[i], word) end
    end
  end
  return int(limits.most) .. ' ' .. int(running) .. ' ' .. (token > now and int(token) or '0') .. ' ' .. by[1] .. ' ' .. by[2]
end

local own = redis.call('HGET', conf, 'limit')
if own then add('limit', limit_words(limits_of(own), redis.call('ZCARD', tag .. 'lease'), '', {'limit', own})) end
local group = meta_field(facts[2], 'g')
if group then
  local set = redis.call('HMGET', conf, 'limit:' .. group, 'limit:*', 'paused:' .. group)
  local held = redis.call('ZRANGEBYLEX', tag .. 'held', '[' .. group .. '\0', '(' .. group .. '\1', 'LIMIT', 0, 5)
  for i = 1, #held do held[i] = string.sub(held[i], #group + 2) end
  add('group', group)
  add('group_paused', set[3] or '')
  local limits, lines = limits_of(set[1], limits_of(set[2])), {'limit:*', set[2], 'limit:' .. group, set[1]}
  add('group_limit', limit_words(limits, running_of(tag .. 'held', group), group, lines))
  add('holders', table.concat(held, ' '))
  if found[1] == 'waiting' and not is_blocked(found[3]) then
    local key, from, to = found[2] .. group, turns_in(tonumber(found[2]))
    local entry = key .. '\0' .. string.format('%016.0f', due_of_score(found[3])) .. '\0' .. id
    add('ahead', redis.call('ZLEXCOUNT', tag .. 'grouped', '[' .. key .. '\0', '(' .. entry))
    add('turns', redis.call('ZCOUNT', tag .. 'ring', from, to))
  end
end

if group and is_strict(facts[2]) then
  local head, place = head_of(tag .. 'grouped', group), place_of(facts[2])
  if head and place then
    local state, due, signal = head_state(tag, head)
    local first = '[s' .. group .. '\0'
    local before = redis.call('ZLEXCOUNT', tag .. 'grouped', first, '(' .. sequence_entry('s', group, place, id))
    if state == 'parked' and first_in(tag .. 'grouped', 'f', group) then state = 'failing' end
    add('sequence', state .. ' ' .. due .. ' ' .. int(before) .. ' ' .. (signal or '') .. '\n' .. head)
  end
end

return {'explained', stamp, found, facts}
