-- emit_chunks: add chunks to the output streams of running jobs, and drop the oldest beyond the bounds.
--
-- KEYS    1 runs        hash    id → run
--         2..* chunks:<id> stream one key per job
-- READS   listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 most        int     maximum number of chunks per job
--         3 most_bytes  int     maximum number of bytes per job
--         4..* item     text    per job: id, token, ttl (ms), n of the first chunk, number of chunks, and each chunk
-- FLAGS   allow-oom
-- RETURNS {"emitted", letters}   o stored, now or before; l lost
-- EMITS   -
-- COST    O(chunks)
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/events/event

-- An entry has the id token-n: the token is the epoch, and n counts from 1 in it. `at` is the number and the bytes of all
-- chunks of the stream so far, including dropped ones. New chunks are announced on the channel of the same name.
local tag, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Drop the chunks that begin within the first `excess` bytes of all. The last chunk stays, however large it is.
local function drop_bytes(key, excess, last)
  local from, count = '-', 1
  while true do
    local page = redis.call('XRANGE', key, from, '+', 'COUNT', count)
    for k = 1, #page do
      local upto, chunk = tonumber(string.match(page[k][2][2], ' (%d+)$')), page[k][2][4]
      if page[k][1] == last or (upto and chunk and upto - #chunk >= excess) then
        if count > 1 then redis.call('XTRIM', key, 'MINID', page[k][1]) end
        return
      end
    end
    from, count = '(' .. page[#page][1], 100
  end
end

local jobs, ids, at = {}, {}, 4
for i = 2, #KEYS do
  local count = tonumber(ARGV[at + 4])
  ids[i - 1] = ARGV[at]
  jobs[i - 1] = {key = KEYS[i], token = ARGV[at + 1], ttl = ARGV[at + 2], n = tonumber(ARGV[at + 3]), at = at + 5, count = count}
  at = at + 5 + count
end
local runs = redis.call('HMGET', KEYS[1], unpack(ids))

local letters, channels = {}, {}
for i = 1, #jobs do
  local job = jobs[i]
  local last = redis.call('XREVRANGE', job.key, '+', '-', 'COUNT', 1)[1]
  local token, n = string.match(last and last[1] or '0-0', '^(%d+)-(%d+)$')
  local number, bytes = string.match(last and last[2][2] or '0 0', '^(%d+) (%d+)$')
  job.last, job.number, job.bytes = token == job.token and tonumber(n) or 0, tonumber(number) or 0, tonumber(bytes) or 0
  local is_owner = runs[i] and run_token(runs[i]) == job.token and tonumber(token) <= tonumber(job.token)
  letters[i] = is_owner and 'o' or 'l'
end

for i = 1, #jobs do
  local job = jobs[i]
  if letters[i] == 'o' then
    local is_new = false
    for k = 0, job.count - 1 do
      if job.n + k > job.last then
        local chunk, entry = ARGV[job.at + k], job.token .. '-' .. int(job.n + k)
        job.number, job.bytes, is_new = job.number + 1, job.bytes + #chunk, true
        redis.call('XADD', job.key, entry, 'at', int(job.number) .. ' ' .. int(job.bytes), 'v', chunk)
      end
    end
    if is_new then
      channels[#channels + 1] = job.key
      redis.call('XTRIM', job.key, 'MAXLEN', int(most))
      drop_bytes(job.key, job.bytes - most_bytes, job.token .. '-' .. int(job.n + job.count - 1))
    end
    redis.call('PEXPIRE', job.key, job.ttl)
  end
end

if #channels > 0 and is_heard(tag) then
  local counts = is_counted(tag) and redis.call('PUBSUB', 'NUMSUB', unpack(channels))
  for i = 1, #channels do
    if not counts or tonumber(counts[2 * i]) > 0 then redis.call('PUBLISH', channels[i], '+') end
  end
end
return {'emitted', table.concat(letters)}
