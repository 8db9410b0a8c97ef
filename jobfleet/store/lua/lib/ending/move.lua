-- @include lib/ending/ended

-- move: running → cancelled, because the job continues under another id. ARGV of an item: ttl (ms), that id.
local function move(batch, item, ttl, to)
  write_ended(batch, item, 'cancelled', ttl, '- moved:' .. to)
end
