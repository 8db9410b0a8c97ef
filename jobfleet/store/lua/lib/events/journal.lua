-- @include lib/base/number

-- The journal: lifecycle events for consumers that must not miss any. It is written only while a consumer is
-- registered; `bound` is then the maximum number of events per lane, from conf. One entry per script: `at`, and for
-- the i-th event `i` → "event id token words…", and optionally `ie` → envelope, `ir` → record, `it` → tries.
-- An entry's id is the number of its last event.
local function journal_fields(noted, written)
  local fields, f = {'at', written}, 2
  for i = 1, #noted do
    local one = noted[i]
    local line = one[1] .. ' ' .. one[2] .. ' ' .. one[3]
    if one.words then line = line .. ' ' .. one.words end
    fields[f + 1], fields[f + 2] = i, line
    f = f + 2
    if one.envelope then
      fields[f + 1], fields[f + 2] = i .. 'e', one.envelope
      f = f + 2
    end
    if one.record then
      fields[f + 1], fields[f + 2] = i .. 'r', one.record
      f = f + 2
    end
    if one.tries then
      fields[f + 1], fields[f + 2] = i .. 't', one.tries
      f = f + 2
    end
  end
  return fields
end

-- Events beyond the limit are deleted, read or not, and counted: an outage of a consumer must not fill the server.
local function write_journal(journal, totals, bound, noted, written)
  if #noted == 0 then return end
  local number = redis.call('HINCRBY', totals, 'journal', #noted)
  redis.call('XADD', journal, int(number) .. '-0', unpack(journal_fields(noted, written)))
  local gone = tonumber(redis.call('HGET', totals, 'journal_low') or '0')
  local most = tonumber(bound)
  if number - gone > most then
    local upto = number - math.floor(most * 0.99)
    redis.call('XTRIM', journal, 'MINID', int(upto + 1))
    redis.call('HINCRBY', totals, 'journal_dropped', int(upto - gone))
    redis.call('HSET', totals, 'journal_low', int(upto))
  end
end
