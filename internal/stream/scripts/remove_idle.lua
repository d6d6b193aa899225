-- Removes idle consumers of the group: those that own nothing, had no activity for the given time,
-- and have a name that matches a pattern. The call counts as activity of this consumer. It is one
-- step, because XGROUP DELCONSUMER drops pending entries for good, and a consumer that owns nothing
-- now may own an entry a moment later.
-- KEYS[1]: stream
-- KEYS[2]: the group's members, if the user may write there
-- ARGV[1], ARGV[2], ARGV[3]: group, this consumer, idle time (ms)
-- ARGV[4] and following: Lua patterns of names
-- Returns the names of the removed consumers.
local stream, group = KEYS[1], ARGV[1]
-- Redis 7.0 does not count a read that finds nothing new as activity. A read of the consumer's own
-- entries counts, but it delivers what it returns. So this read begins after all IDs except the
-- largest one. (It can't begin after that one, which would mean ">".) A consumer that owns the
-- largest ID needs no activity: it owns something, so it is not removed.
local last = '18446744073709551615-18446744073709551615'
if #redis.call('XPENDING', stream, group, last, last, 1, ARGV[2]) == 0 then
  redis.call('XREADGROUP', 'GROUP', group, ARGV[2], 'COUNT', 1, 'STREAMS', stream, '18446744073709551615-18446744073709551614')
end
local function matches(name)
  for i = 4, #ARGV do
    if string.match(name, ARGV[i]) then
      return true
    end
  end
end
local removed = {}
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #row, 2 do
    consumer[row[i]] = row[i + 1]
  end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[3]) and matches(consumer.name) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
    if KEYS[2] then
      redis.pcall('HDEL', KEYS[2], consumer.name)
    end
    removed[#removed + 1] = consumer.name
  end
end
return removed
