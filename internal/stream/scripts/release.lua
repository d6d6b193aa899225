-- Frees a page of what is pending for a consumer: TIME 0 makes an entry look idle for ever, so
-- that anybody may claim it now. A leaving consumer that owns nothing is removed, here and only
-- here: XGROUP DELCONSUMER drops what is pending for good.
-- KEYS[1] stream; ARGV: group, consumer, first ID of the page, its size, '1' to remove the
-- consumer, '1' to take back the only delivery of entries that the caller does not know, then pairs of ID and delivery count
-- for those that it knows. A count of 'keep' renews the lease of an entry instead.
-- Returns {last, trimmed}: the last ID of the page, or an empty string when there is none behind it, and the IDs
-- whose entry is no longer in the stream (XCLAIM takes those off the pending list).
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local size, takeBack = tonumber(ARGV[4]), ARGV[6] == '1'
local deliveries = {}
for i = 7, #ARGV, 2 do
  deliveries[ARGV[i]] = ARGV[i + 1]
end
-- A count from 2^53 on (XNACK FATAL) is kept: Lua would write it in a way that XCLAIM refuses.
local function count(id, n)
  if n >= 2 ^ 53 then
    return '9223372036854775807'
  end
  return deliveries[id] or string.format('%.0f', takeBack and n == 1 and 0 or n)
end
local trimmed = {}
local rows = redis.call('XPENDING', stream, group, ARGV[3], '+', size, consumer)
for _, row in ipairs(rows) do
  local claimed
  if deliveries[row[1]] == 'keep' then
    claimed = redis.call('XCLAIM', stream, group, consumer, 0, row[1], 'JUSTID')
  else
    claimed = redis.call('XCLAIM', stream, group, consumer, 0, row[1], 'TIME', 0, 'RETRYCOUNT', count(row[1], row[4]), 'JUSTID')
  end
  if #claimed == 0 then
    trimmed[#trimmed + 1] = row[1]
  end
end
if #rows == size then
  return {rows[#rows][1], trimmed}
end
if ARGV[5] == '1' and #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
end
return {'', trimmed}
