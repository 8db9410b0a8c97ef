-- run_reports: a page of the reports of workers about their runs, by the time of the report.
--
-- KEYS    1 reports     zset    worker ids by last report (µs)
-- READS   report:<id> string its report
-- ARGV    1 tag         text    the fleet's prefix
--         2 since       int     least time of a report (µs)
--         3 skip        int     number of reports to skip
--         4 limit       int     maximum number of reports
-- FLAGS   no-writes
-- RETURNS {"reports", now, {worker, report, …}, more}   more: 1 if there may be further ones; empty reports have ended
-- EMITS   -
-- COST    O(limit · log workers)
-- @include lib/base/clock
-- @include lib/base/number

local tag, limit = ARGV[1], tonumber(ARGV[4])
local workers = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], '+inf', 'LIMIT', ARGV[3], limit)
local reports = {}
for i = 1, #workers do
  reports[2 * i - 1] = workers[i]
  reports[2 * i] = redis.call('GET', tag .. 'report:' .. workers[i]) or ''
end

return {'reports', int(now_us()), reports, #workers == limit and 1 or 0}
