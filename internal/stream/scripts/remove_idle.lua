-- Shows that this consumer lives, and removes those of the group whose names match a pattern, which own nothing and
-- did nothing for long. In one step: XGROUP DELCONSUMER drops what is pending for good, and one that owns nothing
-- now may own an entry a moment later.
-- KEYS[1] stream; ARGV: group, consumer, Lua pattern of the names, idle time (ms). Returns the names that were removed.
local stream, group = KEYS[1], ARGV[1]
-- Redis 7.0 takes no read for a sign of life that finds nothing new, but one of what the consumer owns. Behind this ID it
-- owns nothing. (The very last ID there is stands for ">".)
redis.call('XREADGROUP', 'GROUP', group, ARGV[2], 'COUNT', 1, 'STREAMS', stream, '18446744073709551615-0')
local removed = {}
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #row, 2 do
    consumer[row[i]] = row[i + 1]
  end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[4]) and string.match(consumer.name, ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
    removed[#removed + 1] = consumer.name
  end
end
return removed
