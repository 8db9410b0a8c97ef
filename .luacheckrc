-- The subset of Lua 5.1 that Redis, Valkey and fakeredis all run. Not here on purpose: cjson, cmsgpack,
-- struct, bit, os, print. A single command is caught by redis.pcall, a function by pcall (lib/ending/batch).
stds.jobfleet = {
  read_globals = {
    redis = { fields = { "acl_check_cmd", "call", "pcall", "error_reply", "status_reply", "REDIS_VERSION_NUM" } },
    "KEYS", "ARGV",
    "tonumber", "tostring", "string", "table", "math", "unpack", "ipairs", "pairs", "type", "next", "select", "pcall",
    "rawget", "_G", -- to look for a global that not every server has
  },
}
std = "jobfleet"
max_line_length = 140
-- Unused functions that an include brought are silenced by name in scripts/lint-lua.
