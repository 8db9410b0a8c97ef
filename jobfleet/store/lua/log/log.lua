-- log: store lines of running jobs' logs, the last ones of each.
--
-- KEYS    1 runs        hash    id → run
--         2..* log:<id> list    one key per item
-- ARGV    1 most_lines  int     maximum number of lines per job
--         2 most_bytes  int     maximum number of bytes per job
--         3..* item     text    five per item: id, token, n, ttl (ms), line (empty: only the ttl is set)
-- FLAGS   allow-oom
-- RETURNS {"logged", letters}   o stored, k stored before, l lost
-- EMITS   -
-- COST    O(items)
-- @include lib/base/number
-- @include lib/job/run

-- A line is: token n bytes rest. `bytes` counts all lines of the log so far, including deleted ones; token and n identify a
-- repeated line.
local most_lines, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])

local items, ids = (#ARGV - 2) / 5, {}
for i = 1, items do ids[i] = ARGV[5 * i - 2] end
local runs = redis.call('HMGET', KEYS[1], unpack(ids))

local letters, logs, order = {}, {}, {}
for i = 1, items do
  local key, token, n, line = KEYS[1 + i], ARGV[5 * i - 1], tonumber(ARGV[5 * i]), ARGV[5 * i + 2]
  if not runs[i] or run_token(runs[i]) ~= token then
    letters[i] = 'l'
  else
    local log = logs[key]
    if not log then
      local last = redis.call('LINDEX', key, -1) or '0 0 0 '
      local last_token, last_n, bytes = string.match(last, '^(%d+) (%d+) (%d+) ')
      log = {key = key, token = last_token, n = tonumber(last_n), bytes = tonumber(bytes), new = {}}
      logs[key] = log
      order[#order + 1] = log
    end
    log.ttl = ARGV[5 * i + 1]
    if line == '' or (log.token == token and n <= log.n) then
      letters[i] = 'k'
    else
      letters[i] = 'o'
      log.token, log.n, log.bytes = token, n, log.bytes + #line
      log.new[#log.new + 1] = token .. ' ' .. int(n) .. ' ' .. int(log.bytes) .. ' ' .. line
    end
  end
end

for i = 1, #order do
  local log = order[i]
  if #log.new > 0 then
    redis.call('RPUSH', log.key, unpack(log.new))
    redis.call('LTRIM', log.key, -most_lines, -1)
    local from = log.bytes - most_bytes
    local head = redis.call('LINDEX', log.key, 0)
    while head and tonumber(string.match(head, '^%d+ %d+ (%d+) ')) <= from do
      redis.call('LPOP', log.key)
      head = redis.call('LINDEX', log.key, 0)
    end
  end
  redis.call('PEXPIRE', log.key, log.ttl)
end

return {'logged', table.concat(letters)}
