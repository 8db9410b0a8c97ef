-- @include lib/base/meta

-- A job has ended, and its result is kept for `ttl` ms. What an open job has kept has no other end: give it one.
-- The steps of a job that has not completed are kept as the clear record says, for a replay, and for a month if they are to
-- be undone. A revision that did not write this has only ever shortened the steps of cancelled jobs, to a month.
local MONTH = 30 * 86400000

local function shorten(key, most)
  if not key then return end  -- some callers have not all keys of a job
  local left = redis.call('PTTL', key)
  if left == -1 or left > most then redis.call('PEXPIRE', key, string.format('%.0f', most)) end
end

local function shorten_kept(item, ttl, has_no_letter)
  local own = item.meta and meta_field(item.meta, 'k')
  if own or has_no_letter then
    local most = tonumber(own or MONTH)
    if most < MONTH and redis.call('HEXISTS', item.steps_key, 'u:') == 1 then most = MONTH end
    shorten(item.steps_key, most)
  end
  -- A dead letter needs its parents for a replay.
  if has_no_letter and item.parents_key then shorten(item.parents_key, math.max(60000, tonumber(ttl))) end
  if own then
    local most = math.max(60000, tonumber(ttl))
    shorten(item.log_key, most)
    shorten(item.chunks_key, most)
    shorten(item.parents_key, has_no_letter and most or math.max(most, tonumber(own)))  -- for a replay, like the steps
  end
end

-- The same for a job that has completed: nobody needs its steps any more, except to read them beside its result.
local function shorten_completed(item, ttl)
  shorten(item.steps_key, tonumber(ttl))
  for _, key in ipairs({item.log_key, item.chunks_key, item.parents_key}) do shorten(key, math.max(60000, tonumber(ttl))) end
end
