-- Finds who has an entry of a group.
-- KEYS[1]: stream
-- KEYS[2], KEYS[3]: retry queue, its entries (retries.lua); none: the group can have no retry queue
-- ARGV[1], ARGV[2]: group, ID
-- Returns {consumer, deliveries, 'pending' or 'queued'}, or nil. Numbers are texts, as counts may be
-- beyond the numbers of Lua.
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
if row then
  return {row[2], row[4] < 2 ^ 53 and string.format('%.0f', row[4]) or '9223372036854775807', 'pending'}
end
if KEYS[2] and redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  local state = redis.call('HMGET', KEYS[3], ARGV[2] .. ':holder', ARGV[2] .. ':deliveries')
  return {state[1] or '', state[2] or '0', 'queued'}
end
return false
