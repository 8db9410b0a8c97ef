-- @include lib/ending/ended

-- move: running → cancelled, since the job goes on under another id. ARGV of an item: ttl (ms), that id.
local function move(batch, item, ttl, to)
  write_ended(batch, item, 'cancelled', ttl, '- moved:' .. to)
end
