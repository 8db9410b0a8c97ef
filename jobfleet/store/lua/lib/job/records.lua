-- @include lib/job/run

-- The data for a decision about runs: {id, token, run, envelope, tries, meta} for each id.
local function read_records(tag, ids, runs)
  if #ids == 0 then return {} end
  local keys = {}
  for i = 1, #ids do keys[i] = tag .. 'job:' .. ids[i] end
  local envelopes = redis.call('MGET', unpack(keys))
  local tries = redis.call('HMGET', tag .. 'tries', unpack(ids))
  local metas = redis.call('HMGET', tag .. 'meta', unpack(ids))
  local records = {}
  for i = 1, #ids do
    local run = runs[i] or ''
    records[i] = {ids[i], run_token(run), run, envelopes[i] or '', tries[i] or '', metas[i] or ''}
  end
  return records
end
