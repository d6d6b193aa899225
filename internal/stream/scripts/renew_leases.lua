-- Renews the leases of entries that this consumer still owns, in one step with the check of the
-- owner. The idle time becomes 0. The delivery count becomes at least that of the caller. It never
-- decreases, because the renewal may have been in flight when a delivery was counted.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: group, consumer
-- ARGV[3] and following: pairs of ID and delivery count
-- Returns {lost, trimmed}
--   lost: IDs of entries that have another owner or are acknowledged
--   trimmed: IDs of entries that are no longer in the stream
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
-- Lua can't hold numbers from 2^53 on exactly, and writes 2^63-1 in a form that XCLAIM refuses.
-- Such a count (XNACK FATAL) is written as 2^63-1.
local function count(n)
  return n < 2 ^ 53 and string.format('%.0f', n) or '9223372036854775807'
end
-- An entry that is not pending was acknowledged, or it was trimmed and an earlier renewal removed
-- it from the pending list. Without the right to XRANGE it counts as lost.
local function isTrimmed(id)
  if #redis.call('XPENDING', stream, group, id, id, 1) > 0 then
    return false
  end
  local entries = redis.pcall('XRANGE', stream, id, id, 'COUNT', 1)
  return not entries.err and #entries == 0
end
local lost, trimmed = {}, {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local row = redis.call('XPENDING', stream, group, id, id, 1, consumer)[1]
  local deliveries = row and count(math.max(row[4], tonumber(ARGV[i + 1])))
  if not row then
    local list = isTrimmed(id) and trimmed or lost
    list[#list + 1] = id
  elseif #redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID') == 0 then
    trimmed[#trimmed + 1] = id
  end
end
return {lost, trimmed}
