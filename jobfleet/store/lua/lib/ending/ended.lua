-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/job/run
-- @include lib/ending/batch
-- @include lib/ending/brief

-- The record of a job that no worker finished: a line of fields, then its envelope.
-- The line is: status at token started child by (- if there is none); for a cancelled run followed by the time of the
-- request and the stage of stopping (- if unknown), and for a job with tries by their counts. `by` may include the reason.
local function write_ended(batch, item, status, ttl, by)
  local run = item.run
  local token = run and run.token or '0'
  local words = (run and int(run.claimed) or '0') .. ' ' .. (run and run.child or '-') .. ' ' .. by
  if run and run.cancel ~= '' then
    local _, asked, stage = cancel_parts(run.cancel)
    words = words .. ' - ' .. asked .. ' ' .. (stage == '' and '-' or stage)
  end
  local line = status .. ' ' .. batch.stamp .. ' ' .. token .. ' ' .. words
  local spent = item.tries and string.match(item.tries, '^[%d:]+')
  if spent then
    if not (run and run.cancel ~= '') then line = line .. (string.find(by, ' ', 1, true) and '' or ' -') .. ' 0 -' end
    line = line .. ' ' .. spent
  end
  local kept = item.meta and meta_field(item.meta, 'r') or ttl
  local brief = item.meta and meta_field(item.meta, 'v')
  store_result(batch, item, line .. '\n' .. (brief and '' or item.envelope), kept)
  if brief then keep_briefly(item, item.envelope, brief) end
  forget(batch, item)
  finished(batch, item.id, string.sub(status, 1, 2), run and int(batch.now - run.claimed) or '0')
  count(batch, status, 1)
  note(batch, status, item.id, token, words, item.envelope, nil, item.tries)
end
