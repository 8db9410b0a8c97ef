-- A run's record: token|child|claimed|lease|band|cancel, where cancel is empty or who@when.
local function run_token(run)
  return string.match(run, '^(%d+)|')
end

local function run_parts(run)
  local token, child, claimed, lease, band, cancel = string.match(run, '^(%d+)|([^|]*)|(%d+)|(%d+)|(%d)|(.*)$')
  return {token = token, child = child, claimed = tonumber(claimed), lease = tonumber(lease), band = tonumber(band), cancel = cancel}
end
