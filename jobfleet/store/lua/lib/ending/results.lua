-- Whether the server keeps many values with a TTL in one command: Valkey from 9.1, Redis from 8.4.
local function has_msetex()
  local valkey = rawget(_G, 'server')
  if valkey and valkey.VALKEY_VERSION_NUM then return valkey.VALKEY_VERSION_NUM >= 0x90100 end
  return (redis.REDIS_VERSION_NUM or 0) >= 0x80400
end

-- Keeps results, `rows` being key and value in turn. A command of its own for each is a tenth of what a job costs the server.
local function keep_results(rows, ttl)
  local n = #rows
  rows[n + 1], rows[n + 2] = 'PX', ttl
  local said = has_msetex() and redis.pcall('MSETEX', n / 2, unpack(rows))
  if not said or (type(said) == 'table' and said.err) then  -- or its user may not
    for i = 1, n, 2 do redis.call('SET', rows[i], rows[i + 1], 'PX', ttl) end
  end
end
