-- replay: put a dead job back into its queue, with new budgets and its old history, and optionally with other arguments.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 tries       hash    id → tries
--         7 meta        hash    id → clear record
--         8 unique      hash    key → lock
--         9 dlq         stream  dead letters
--         10 dead       hash    id → entry in dlq
--         11 totals     hash    counts
--         12 watched    hash    ids of jobs with dependants
--         13 locks      zset    keys held for a time, by its end (µs)
--         14 grouped    zset    waiting jobs of groups
--         15 gdue       zset    groups by the time of the next check of their turn (µs)
--         16 journal    stream  lifecycle events
--         17 filed      zset    names with the entries and ids of their letters
--         18 filing     hash    id → what is filed of its letter; mark
--         19..* job:<id> string job:<id>, result:<id> and steps:<id>, three keys per item
-- READS   runs          hash    id → run
--         dependants:<id> zset  who waits for it
--         job:<id>      string  whether the holder of a key is open
--         conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 who         text    requester; - if unknown
--         3..* item     text    id, the entry that is meant, the new envelope (empty: any, its own), its changed arguments: at most 50
-- FLAGS   -
-- GUARDS  deadline once
-- RETURNS {"replayed", now, {word, …}}   replayed, already, changed, unknown, or duplicate:<holder>
--         changed: the dead letter is not the expected one
-- EMITS   replayed
-- COST    O(items · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/base/meta
-- @include lib/job/unique
-- @include lib/job/keep_open
-- @include lib/group/stand_with
-- @include lib/dead/filed

local tag, who = ARGV[1], ARGV[2]
local now = now_us()

local function entry_of(id)
  local entry = redis.call('HGET', KEYS[10], id)
  local found = entry and string.find(entry, '^%d+%-%d+$') and redis.call('XRANGE', KEYS[9], entry, entry)
  if not found or not found[1] then return nil end
  local fields, values = found[1][2], {}
  for i = 1, #fields, 2 do values[fields[i]] = fields[i + 1] end
  values.entry = entry
  if not (values.envelope and values.meta and values.tries and string.find(values.band or '', '^[0-3]$')) then return nil end
  return values
end

local words, letters, seen, taken, watched, ids = {}, {}, {}, {}, {}, {}
for i = 1, (#ARGV - 2) / 4 do
  local at = 4 * i - 1
  local id, entry = ARGV[at], ARGV[at + 1]
  local job_key, result_key = KEYS[16 + 3 * i], KEYS[17 + 3 * i]
  local letter = entry_of(id)
  letters[i] = letter or false
  if seen[id] or redis.call('EXISTS', job_key) == 1 or redis.call('HEXISTS', tag .. 'runs', id) == 1 then
    words[i] = 'already'
  elseif not letter then
    words[i] = redis.call('EXISTS', result_key) == 1 and 'already' or 'unknown'
  elseif entry ~= '' and entry ~= letter.entry then
    words[i] = 'changed'
  else
    words[i] = 'replayed'
    local key = meta_field(letter.meta, 'u')
    local lock = key and (taken[key] or lock_on(KEYS[8], tag, key, now))
    if lock and lock.id ~= id then
      words[i] = 'duplicate:' .. lock.id
    elseif key then
      taken[key] = {id = id, is_held = lock ~= nil}
    end
  end
  watched[id] = redis.call('EXISTS', tag .. 'dependants:' .. id) == 1
  seen[id], ids[i] = true, id
end
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard = is_heard(tag)
local notes = notes_of(KEYS[17], KEYS[18], ids)

local events, put_back = {}, 0
local lane = {grouped = KEYS[14], gdue = KEYS[15], meta = KEYS[7], tag = tag, now = now}
for i = 1, #words do
  local at, letter = 4 * i - 1, letters[i]
  local id, edited, changed = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  if words[i] == 'replayed' then
    local envelope = edited ~= '' and edited or letter.envelope
    local by = edited ~= '' and who .. ' edited' .. (changed == '' and '' or ' ' .. changed) or who
    -- The envelope comes after all other additions: a job with an envelope counts as replayed (docs/adr/0012).
    if watched[id] then redis.call('HSET', KEYS[12], id, 1) end
    local history = string.gsub(letter.tries, '^[^\n]*', '', 1)
    local tries = '0:0:0:0:0' .. history .. '\nreplayed ' .. int(now) .. ' ' .. by
    redis.call('HSET', KEYS[6], id, tries)
    local meta = string.gsub(string.gsub('\n' .. letter.meta, '\nx %d+', ''), '^\n', '')
    if meta ~= '' then redis.call('HSET', KEYS[7], id, meta) end
    if redis.call('PTTL', KEYS[18 + 3 * i]) > -2 then
      keep_open(KEYS[7], id, '2592000000')
      outlive(KEYS[18 + 3 * i])
    end
    local key = meta_field(meta, 'u')
    if key and not taken[key].is_held then
      local value, till = lock_for(id, meta_field(meta, 's'), now)
      redis.call('HSET', KEYS[8], key, value)
      if till > 0 then redis.call('ZADD', KEYS[13], int(till), key) end
    end
    stand_with(KEYS[1 + tonumber(letter.band)], lane, meta, letter.band, now, id)
    redis.call('SET', KEYS[16 + 3 * i], envelope)
    redis.call('UNLINK', KEYS[17 + 3 * i])
    redis.call('XDEL', KEYS[9], letter.entry)
    redis.call('HDEL', KEYS[10], id)
    unfile(KEYS[17], KEYS[18], {id}, {notes[i]})
    redis.call('HINCRBY', KEYS[11], 'replayed', 1)
    redis.call('HINCRBY', KEYS[11], 'retrying', 1)
    put_back = put_back + 1
    if heard or conf[2] then
      local stage = edited ~= '' and 'edited' or nil
      events[#events + 1] = {'replayed', id, '0', 0, stage, words = by, envelope = envelope, tries = tries}
    end
  end
end
if put_back > 0 and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end

if conf[2] then write_journal(KEYS[16], KEYS[11], conf[2], events, int(now)) end
if heard then emit(tag, now, events) end
return {'replayed', int(now), words}
