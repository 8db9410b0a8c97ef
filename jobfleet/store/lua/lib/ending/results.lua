-- Whether the server can set many values with a TTL in one command: Valkey from 9.1, Redis from 8.4.
local function has_msetex()
  local valkey = rawget(_G, 'server')
  if valkey and valkey.VALKEY_VERSION_NUM then return valkey.VALKEY_VERSION_NUM >= 0x90100 end
  return (redis.REDIS_VERSION_NUM or 0) >= 0x80400
end

-- Stores results; `rows` has keys and values alternating. One command per result would be a tenth of a job's cost.
local function keep_results(rows, ttl)
  local n = #rows
  rows[n + 1], rows[n + 2] = 'PX', ttl
  local reply = has_msetex() and redis.pcall('MSETEX', n / 2, unpack(rows))
  if not reply or (type(reply) == 'table' and reply.err) then  -- or the user has no permission
    for i = 1, n, 2 do redis.call('SET', rows[i], rows[i + 1], 'PX', ttl) end
  end
end
