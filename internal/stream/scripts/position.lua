-- Returns the position of a group: {last delivered ID, last generated ID, server's time (ms), number of
-- pending entries}. The time is a text.
-- KEYS[1]: stream
-- ARGV[1]: group
local function fields(row)
  local list = {}
  for i = 1, #row, 2 do
    list[row[i]] = row[i + 1]
  end
  return list
end
local time = redis.call('TIME')
local exists = redis.call('EXISTS', KEYS[1]) == 1
for _, row in ipairs(exists and redis.call('XINFO', 'GROUPS', KEYS[1]) or {}) do
  local group = fields(row)
  if group.name == ARGV[1] then
    local last = fields(redis.call('XINFO', 'STREAM', KEYS[1]))['last-generated-id']
    local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    return {group['last-delivered-id'], last, now, group.pending}
  end
end
return redis.error_reply('NOGROUP the consumer group does not exist')
