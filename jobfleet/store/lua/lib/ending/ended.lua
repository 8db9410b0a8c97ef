-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/job/run
-- @include lib/ending/batch
-- @include lib/ending/brief
-- @include lib/ending/past

-- The record of a job that no worker finished: a line of fields, then its envelope.
-- The line is: status at token started child by (- if there is none); for a cancelled run followed by the time of the
-- request and the stage of stopping (- if unknown), and for a job with tries by their counts. `by` may include the reason. A
-- job with a past has `l:` and its lines (lib/ending/past.lua) in place of the reason, or behind seven counts.
local function write_ended(batch, item, status, ttl, by)
  local run = item.run
  local token = run and run.token or '0'
  local words = (run and int(run.claimed) or '0') .. ' ' .. (run and run.child or '-') .. ' ' .. by
  local stop
  if run and run.cancel ~= '' then
    local _, asked, stage = cancel_parts(run.cancel)
    stop = asked .. ' ' .. (stage == '' and '-' or stage)
  end
  local line = status .. ' ' .. batch.stamp .. ' ' .. token .. ' ' .. words
  if stop then words = words .. ' - ' .. stop end
  local spent = item.tries and string.match(item.tries, '^[%d:]+')
  local past = past_word(item, #line + 100)
  local has_reason = string.find(by, ' ', 1, true)
  if has_reason and past ~= '' then
    local _, colons = string.gsub(spent or '', ':', '')
    spent = (spent and spent .. string.rep(':0', 6 - colons) or '0:0:0:0:0:0:0') .. ':' .. past
  elseif past ~= '' then
    line = line .. ' l:' .. past
  elseif not has_reason and (spent or stop) then
    line = line .. ' -'
  end
  if spent or stop then line = line .. ' ' .. (stop or '0 -') end
  if spent then line = line .. ' ' .. spent end
  local kept = item.meta and meta_field(item.meta, 'r') or ttl
  local brief = item.meta and meta_field(item.meta, 'v')
  store_result(batch, item, line .. '\n' .. (brief and '' or item.envelope), kept)
  if brief then keep_briefly(item, item.envelope, brief) end
  forget(batch, item)
  finished(batch, item.id, string.sub(status, 1, 2), run and int(batch.now - run.claimed) or '0')
  count(batch, status, 1)
  note(batch, status, item.id, token, words, item.envelope, nil, item.tries)
end
