-- The steps of a cancelled job are kept for 30 days, for the job that undoes them. Since a wait they may have a lifetime of
-- years.
local function shorten_steps(key)
  local most = 30 * 86400000
  if redis.call('PTTL', key) > most then redis.call('PEXPIRE', key, most) end
end
