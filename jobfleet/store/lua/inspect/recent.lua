-- recent: the ids of a lane's newest jobs of each kind, or of those among them that have a given beginning or end.
--
-- KEYS    1 lane        hash    names the slot
-- READS   ready:0       zset    job ids by due time (µs)
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
--         lease         zset    running ids by lease deadline (µs)
--         done          stream  finished jobs
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 prefix      text    the beginning of all ids of the lane
--         3 limit       int     1..1000; most jobs of each kind
--         4 kinds       text    letters of the kinds: w waiting, r running, e ended, d dead letters
--         5 part        text    the end of an id, the beginning of its last part, or one that reaches into it; empty for all
-- FLAGS   no-writes
-- RETURNS {"recent", now, {id, at, …}}   at (µs): due time of a waiting job, end of an ended one, now for others. With a
--         part, the waiting jobs that are due first are among them. An id may occur more than once.
-- EMITS   -
-- COST    O(limit)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/score

local tag, prefix, limit, kinds, part = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local PAGE, SUFFIX_MOST, TEXT_MOST = 50, 64, 65536  -- batches of ours are far shorter than this
local now = now_us()
local stamp = int(now)
local found = {}

local function fits(id)
  return part == '' or string.sub(id, -#part) == part or (#part > #prefix and string.sub(id, 1, #part) == part)
    or string.sub(id, #prefix + 1, #prefix + #part) == part
end

local function add(id, at)
  if fits(id) then found[#found + 1], found[#found + 2] = id, at end
end

local function add_waiting(rows)
  for i = 1, #rows, 2 do
    add(rows[i], is_blocked(rows[i + 1]) and stamp or int(due_of_score(rows[i + 1])))
  end
end

-- The jobs with the highest scores between two bounds, and to find a part also those with the lowest.
local function range(key, from, to)
  add_waiting(redis.call('ZREVRANGEBYSCORE', key, to, from, 'WITHSCORES', 'LIMIT', 0, limit))
  if part ~= '' then add_waiting(redis.call('ZRANGEBYSCORE', key, from, to, 'WITHSCORES', 'LIMIT', 0, limit)) end
end

if string.find(kinds, 'w') then
  local soon, blocked = grouped_score(now), int(BLOCKED)
  for band = 0, 3 do
    local key = tag .. 'ready:' .. band
    range(key, '-inf', soon)
    range(key, '(' .. soon, '(' .. FIRST_PLAIN)
    range(key, FIRST_PLAIN, stamp)
    range(key, '(' .. stamp, '(' .. int(WITHHELD))
    range(key, int(WITHHELD), '(' .. blocked)
    range(key, blocked, '+inf')
  end
end

if string.find(kinds, 'r') then
  local ids = redis.call('ZREVRANGE', tag .. 'lease', 0, limit - 1)
  for i = 1, #ids do add(ids[i], stamp) end
end

if string.find(kinds, 'e') then
  local count, before = 0, '+'
  while count < limit do
    local page = redis.call('XREVRANGE', tag .. 'done', before, '-', 'COUNT', PAGE)
    if #page == 0 then break end
    for i = 1, #page do
      local entry, fields = page[i][1], page[i][2]
      local at = (string.match(entry, '^%d+') or '0') .. '000'
      local lines = fields[1] == 'jobs' and #fields[2] <= TEXT_MOST and fields[2] or ''
      for line in string.gmatch(lines, '[^\n]+') do
        local suffix = string.match(line, '^([^ ]+) ')
        if suffix and #suffix <= SUFFIX_MOST and count < limit then add(prefix .. suffix, at) end
        count = count + 1
      end
      before = '(' .. entry
    end
  end
end

if string.find(kinds, 'd') then
  local rows = redis.call('HSCAN', tag .. 'dead', '0', 'COUNT', limit)[2]
  for i = 1, #rows, 2 do add(rows[i], stamp) end
end

return {'recent', stamp, found}
