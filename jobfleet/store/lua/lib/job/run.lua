-- A run's record: token|child|claimed|lease|band|cancel, where cancel is empty, who@when or who@when@stage.
-- An unreadable one (docs/adr/0012) gets the token 0, which no run has, so that every request finds it lost.
local function run_token(run)
  return string.match(run, '^(%d+)|') or '0'
end

local function run_parts(run)
  local token, by, claimed, lease_us, band, cancel = string.match(run, '^(%d+)|([^|]*)|(%d+)|(%d+)|([0-3])|(.*)$')
  if not token then return {token = '0', child = '-', claimed = 0, lease = 0, band = 2, cancel = ''} end
  if cancel ~= '' and not string.match(cancel, '^[^@]*@%d+@?%a*$') then cancel = '-@' .. claimed end
  return {token = token, child = by, claimed = tonumber(claimed), lease = tonumber(lease_us), band = tonumber(band), cancel = cancel}
end

-- Who requested the cancellation of a run, when, and the stage of stopping (empty: nothing reported yet).
local function cancel_parts(cancel)
  return string.match(cancel, '^([^@]*)@(%d+)@?(%a*)$')
end
