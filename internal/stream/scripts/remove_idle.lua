-- Shows that this consumer lives, and removes those of the group whose names match one of the patterns, which own nothing and
-- did nothing for long. In one step: XGROUP DELCONSUMER drops what is pending for good, and one that owns nothing
-- now may own an entry a moment later.
-- KEYS[1] stream; ARGV: group, consumer, idle time (ms), Lua patterns of the names. Returns the names that were removed.
local stream, group = KEYS[1], ARGV[1]
-- Redis 7.0 takes no read for a sign of life that finds nothing new, but one of what the consumer owns. Such a read counts as a
-- delivery of what it returns, so it begins behind all IDs but the very last, which stands for ">" itself. Who owns that entry
-- needs no sign: nobody who owns something is removed.
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
