-- Releases a page of the pending entries of a consumer. TIME 0 sets their idle time to the time
-- since 1970, so that other consumers can claim them at once. After the last page it can remove the
-- consumer if that owns nothing. The check and the removal are one step, because XGROUP DELCONSUMER
-- drops pending entries for good.
-- KEYS[1]: stream
-- KEYS[2]: the group's members, if this consumer leaves and has a record there, which is deleted
-- ARGV[1], ARGV[2]: group, consumer
-- ARGV[3], ARGV[4]: the first ID of the page, its size
-- ARGV[5]: '1' to remove the consumer
-- ARGV[6]: '1' to take back the only delivery of entries that have no pair below, and that are not
--   released yet
-- ARGV[7]: what happens to the ownership of the stream after the last page: keep or release
--   (owner.lua); empty: nothing. Otherwise the last of KEYS is the owner key.
-- ARGV[8] and following: pairs of ID and delivery count. With 'keep' for the count, the lease is
--   renewed instead.
-- Returns {last, trimmed}
--   last: the last ID of the page; empty: no page follows
--   trimmed: IDs of entries that are no longer in the stream; XCLAIM has removed them from the
--     pending list
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local size, takeBack = tonumber(ARGV[4]), ARGV[6] == '1'
local owner = ARGV[7] ~= '' and table.remove(KEYS)
if KEYS[2] then
  redis.pcall('HDEL', KEYS[2], consumer)
end
local deliveries = {}
for i = 8, #ARGV, 2 do
  deliveries[ARGV[i]] = ARGV[i + 1]
end
-- A count from 2^53 on (XNACK FATAL) is written as 2^63-1, because XCLAIM refuses the form in which
-- Lua writes it.
-- A released entry is idle since 1970: for longer than ten years.
local function count(id, idle, n)
  if n >= 2 ^ 53 then
    return '9223372036854775807'
  end
  return deliveries[id] or string.format('%.0f', takeBack and n == 1 and idle < 315360000000 and 0 or n)
end
local trimmed = {}
local rows = redis.call('XPENDING', stream, group, ARGV[3], '+', size, consumer)
for _, row in ipairs(rows) do
  local claimed
  if deliveries[row[1]] == 'keep' then
    claimed = redis.call('XCLAIM', stream, group, consumer, 0, row[1], 'JUSTID')
  else
    claimed = redis.call('XCLAIM', stream, group, consumer, 0, row[1], 'TIME', 0, 'RETRYCOUNT', count(row[1], row[3], row[4]), 'JUSTID')
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
if owner then
  settle(owner, ARGV[7])
end
return {'', trimmed}
