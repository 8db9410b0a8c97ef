-- @include lib/base/number

-- Adds an entry with `size` events to a journal; its id is the number of the last one. Its first field is `at`. Two kinds of
-- events have one text for all jobs of a batch, because a table and a text per event are most of what a journal costs:
-- `claimed` → "child token id due id due …", with the token of the first one, the others follow it;
-- `completed` → "prefix of the ids", "tokens" and the lines of the list of finished jobs, each on a line, then envelope → record
-- per event.
-- Events beyond the limit are deleted, read or not, and counted: an outage of a consumer must not fill the server.
local function write_entry(journal, totals, bound, size, ...)
  local number = redis.call('HINCRBY', totals, 'journal', size)
  redis.call('XADD', journal, int(number) .. '-0', ...)
  local low = tonumber(redis.call('HGET', totals, 'journal_low') or '0')
  local most = tonumber(bound)
  if number - low > most then
    local upto = number - math.floor(most * 0.99)
    redis.call('XTRIM', journal, 'MINID', int(upto + 1))
    redis.call('HINCRBY', totals, 'journal_dropped', int(upto - low))
    redis.call('HSET', totals, 'journal_low', int(upto))
  end
end
