-- @include lib/base/meta

-- What an open job has kept (steps, signals, ends of waits) must not end before the job. So it is kept for a century, and `k`
-- in the clear record says for how long after the job has ended: whatever ends the job, shortens it (lib/ending/kept.lua).
local CENTURY = 3153600000000

-- Call it before a record is written, and `outlive` after it.
local function keep_open(meta_key, id, ttl)
  local meta = redis.call('HGET', meta_key, id) or ''
  if not meta_field(meta, 'k') then redis.call('HSET', meta_key, id, 'k ' .. ttl .. (meta == '' and '' or '\n' .. meta)) end
end

local function outlive(steps) redis.call('PEXPIRE', steps, string.format('%.0f', CENTURY)) end
