-- @include lib/base/number
-- @include lib/waiting/bounds

-- Aging: the first job of a band counts as of the band above after one step of waiting, of the next above after two.
-- Only bands with waiting jobs count; one that comes before a band above it gets at most half of the room, rounded up.
local function bands_by_age(keys, groups, step, most, moment)
  local rows, places, shares = {}, {}, {}
  for band = 0, 3 do
    local first = redis.call('ZRANGEBYSCORE', keys['ready' .. band], FIRST_PLAIN, int(moment), 'WITHSCORES', 'LIMIT', 0, 1)
    local due = tonumber(first[2])
    local turn = groups and groups.first_due(band)
    if turn and turn <= moment and (not due or turn < due) then due = turn end
    local rank = due and math.max(0, band - math.floor((moment - due) / step)) or band
    rows[band + 1] = {band = band + 1, rank = rank, due = due or moment, waits = due ~= nil}
  end
  table.sort(rows, function(one, other)
    if one.rank ~= other.rank then return one.rank < other.rank end
    if one.due ~= other.due then return one.due < other.due end
    return one.band < other.band
  end)
  for place = 1, 4 do
    places[place] = rows[place].band
    for later = place + 1, 4 do
      if rows[later].waits and rows[later].band < rows[place].band then shares[place] = math.ceil(most / 2) end
    end
  end
  return places, shares
end
