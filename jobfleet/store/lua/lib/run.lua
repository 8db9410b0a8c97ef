-- A run's record: token|child|claimed|lease|band|cancel, where cancel is empty, who@when or who@when@stage.
local function run_token(run)
  return string.match(run, '^(%d+)|')
end

local function run_parts(run)
  local token, by, claimed, lease, band, cancel = string.match(run, '^(%d+)|([^|]*)|(%d+)|(%d+)|(%d)|(.*)$')
  return {token = token, child = by, claimed = tonumber(claimed), lease = tonumber(lease), band = tonumber(band), cancel = cancel}
end

-- Who asked for a run to be cancelled, when, and how far its stopping has come (empty: nothing was heard of it yet).
local function cancel_parts(cancel)
  return string.match(cancel, '^([^@]*)@(%d+)@?(%a*)$')
end
