-- Counts as activity of this consumer, and removes idle consumers of the group: those whose names match one of the
-- patterns, which own nothing and had no activity for the given time. It is one step, because XGROUP DELCONSUMER
-- drops pending entries for good, and a consumer that owns nothing now may own an entry a moment later.
-- KEYS[1] stream; ARGV: group, consumer, idle time (ms), Lua patterns of the names. Returns the names that were removed.
local stream, group = KEYS[1], ARGV[1]
-- In Redis 7.0 a read that finds nothing new is no activity, but a read of what the consumer owns is. Such a read counts
-- as a delivery of what it returns, so it begins behind all IDs but the very last, which means ">" itself. A consumer
-- that owns that entry needs no activity: it owns something, and is not removed.
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
    removed[#removed + 1] = consumer.name
  end
end
return removed
