-- Tells what the groups of a stream did with an entry.
-- KEYS[1]: stream
-- ARGV[1]: ID
-- ARGV[2]: what the names of retry queues begin with; empty: they are in another slot
-- ARGV[3], ARGV[4]: how many groups to leave out, how many to describe at most
-- Returns {now, groups}, each {name, last, pending, parked}
--   now: the server's time (ms)
--   last: the newest ID that was delivered
--   pending: {ID, consumer, idle, deliveries}; empty: it is not pending
--   parked: 1: it is in the retry queue
local stream, id, queues, skip, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local groups = {}
for i, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  if i > skip and #groups < most then
    local group = {}
    for f = 1, #row, 2 do
      group[row[f]] = row[f + 1]
    end
    local pending = redis.call('XPENDING', stream, group.name, id, id, 1)[1] or {}
    if pending[4] then
      pending[4] = math.min(pending[4], 2 ^ 53 - 1) -- XNACK FATAL sets a larger one
    end
    local parked = queues ~= '' and redis.pcall('ZSCORE', queues .. group.name, id)
    groups[#groups + 1] = {group.name, group['last-delivered-id'], pending, type(parked) == 'string' and 1 or 0}
  end
end
return {time[1] * 1000 + math.floor(time[2] / 1000), groups}
