-- @include lib/events/entry

-- The journal: lifecycle events for consumers that must not miss any. It is written only while a consumer is
-- registered; `bound` is then the maximum number of events per lane, from conf. One entry per script: `at`, and for
-- the i-th event `i` → "event id token words…", and optionally `ie` → envelope, `ir` → record, `it` → tries.
-- Alike events have a shorter entry (lib/events/entry.lua).
local function journal_fields(noted)
  local fields, f = {}, 0
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

local function write_journal(journal, totals, bound, noted, written)
  if #noted > 0 then write_entry(journal, totals, bound, #noted, 'at', written, unpack(journal_fields(noted))) end
end
