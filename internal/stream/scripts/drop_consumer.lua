-- Gives a page of the pending entries of a dead consumer to another name, with an idle time since 1970, so
-- that all others can take them over. After the last page it removes the consumer. The check of its
-- activity and the removal are one step, because XGROUP DELCONSUMER drops pending entries for good.
-- KEYS[1], KEYS[2]: stream, member records; none: there are none
-- ARGV[1], ARGV[2], ARGV[3]: group, consumer, the other name
-- ARGV[4]: the size of the page
-- ARGV[5], ARGV[6]: the consumer's member record, or nothing; the idle time that it must have (ms)
-- Returns how many entries were given; fewer than the page: the consumer is removed; -1: it is alive
local stream, group, consumer, heir, size = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local idle
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local info = {}
  for i = 1, #row, 2 do
    info[row[i]] = row[i + 1]
  end
  if info.name == consumer then
    idle = info.idle
  end
end
if not idle then
  return 0 -- the reply to an earlier call was lost
end
if idle < tonumber(ARGV[6]) or KEYS[2] and (redis.call('HGET', KEYS[2], consumer) or '') ~= ARGV[5] then
  return -1
end
-- A count from 2^53 on (XNACK FATAL) is written as 2^63-1, because XCLAIM refuses the form in which
-- Lua writes it.
local function count(n)
  return n < 2 ^ 53 and string.format('%.0f', n) or '9223372036854775807'
end
local rows = redis.call('XPENDING', stream, group, '-', '+', size, consumer)
for _, row in ipairs(rows) do
  redis.call('XCLAIM', stream, group, heir, 0, row[1], 'TIME', 0, 'RETRYCOUNT', count(row[4]), 'JUSTID')
end
if #rows < size then
  redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
  if KEYS[2] then
    redis.call('HDEL', KEYS[2], consumer)
  end
end
return #rows
