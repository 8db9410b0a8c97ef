-- Publish what happened, only to those who listen: one line a job on the lane's channel, and on the
-- channel of each job that has a listener. A line is: version event id token n at.
local function emit(tag, now, events)
  if #events == 0 then return end
  local channels = {tag .. 'events'}
  for i = 1, #events do channels[i + 1] = tag .. 'events:' .. events[i][2] end
  local counts = redis.call('PUBSUB', 'NUMSUB', unpack(channels))
  local all, lines = tonumber(counts[2]) > 0, {}
  for i = 1, #events do
    local one = tonumber(counts[2 * i + 2]) > 0
    if all or one then
      local event = events[i]
      local line = '1 ' .. event[1] .. ' ' .. event[2] .. ' ' .. event[3] .. ' ' .. event[4] .. ' ' .. int(now)
      if one then redis.call('PUBLISH', channels[i + 1], line) end
      lines[#lines + 1] = line
    end
  end
  if all then redis.call('PUBLISH', channels[1], table.concat(lines, '\n')) end
end
