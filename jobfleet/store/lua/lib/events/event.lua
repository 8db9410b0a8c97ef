-- @include lib/base/number

-- Events are published only for listeners. A listener leaves a mark (listen.lua), so that nobody else pays for events.
-- The mark says whether the server can count the listeners of a channel; then channels without any get no messages.
-- A line is: version event id token n at, and further words for some events. The lane's channel gets one message per job, and so
-- does the channel of each job that has its own listener.
local function is_heard(lane_tag)
  return redis.call('EXISTS', lane_tag .. 'listeners') == 1
end

-- GETRANGE, because a foreign mark may be as long as memory allows.
local function is_counted(lane_tag)
  return redis.pcall('GETRANGE', lane_tag .. 'listeners', 0, 8) ~= 'uncounted'
end

local function emit(lane_tag, now, events)
  if #events == 0 then return end
  local channels = {lane_tag .. 'events'}
  for i = 1, #events do channels[i + 1] = lane_tag .. 'events:' .. events[i][2] end
  local counts = is_counted(lane_tag) and redis.call('PUBSUB', 'NUMSUB', unpack(channels))
  local all, lines = not counts or tonumber(counts[2]) > 0, {}
  for i = 1, #events do
    local one = not counts or tonumber(counts[2 * i + 2]) > 0
    if all or one then
      local event = events[i]
      local line = '1 ' .. event[1] .. ' ' .. event[2] .. ' ' .. event[3] .. ' ' .. event[4] .. ' ' .. int(now)
      if event[5] then line = line .. ' ' .. event[5] end
      if one then redis.call('PUBLISH', channels[i + 1], line) end
      lines[#lines + 1] = line
    end
  end
  if all then redis.call('PUBLISH', channels[1], table.concat(lines, '\n')) end
end
