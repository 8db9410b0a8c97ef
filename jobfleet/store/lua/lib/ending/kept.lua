-- @include lib/base/meta

-- A job has ended, and its result is kept for `ttl` ms. What was kept for a wait may have a lifetime of years: shorten it.
-- The steps are kept as the clear record says, for a replay and for the job that undoes them. A revision that did not write
-- this has only ever shortened the steps of cancelled jobs, to 30 days.
local function shorten_kept(item, ttl, is_cancelled)
  local own = item.meta and meta_field(item.meta, 'k')
  local function shorten(key, most)
    if redis.call('PTTL', key) > most then redis.call('PEXPIRE', key, string.format('%.0f', most)) end
  end
  if own or is_cancelled then shorten(item.steps_key, tonumber(own or 30 * 86400000)) end
  if own then
    local most = math.max(60000, tonumber(ttl))
    shorten(item.log_key, most)
    shorten(item.chunks_key, most)
    shorten(item.parents_key, is_cancelled and most or math.max(most, tonumber(own)))  -- for a replay, like the steps
  end
end
