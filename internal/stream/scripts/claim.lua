-- Takes over pending entries that are still owned by whom the caller saw them with.
-- KEYS[1] stream; ARGV: group, consumer, min-idle (ms), '1' to count this as a delivery, then
-- pairs of ID and owner.
-- Returns {entries, trimmed}: entries as {ID, fields, deliveries}, trimmed the IDs whose entry
-- is no longer in the stream (XCLAIM takes those off the pending list).
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local entries, trimmed = {}, {}
local function pending(id)
  return redis.call('XPENDING', stream, group, id, id, 1)[1]
end
for i = 5, #ARGV, 2 do
  local id, owner = ARGV[i], ARGV[i + 1]
  local row = pending(id)
  if row and row[2] == owner then
    local deliveries = row[4]
    if ARGV[4] == '1' then
      deliveries = deliveries + 1
    end
    local claimed = redis.call('XCLAIM', stream, group, consumer, ARGV[3], id, 'RETRYCOUNT', deliveries)
    if claimed[1] and claimed[1][2] then
      entries[#entries + 1] = {id, claimed[1][2], deliveries}
    elseif not pending(id) then
      trimmed[#trimmed + 1] = id
    end
  end
end
return {entries, trimmed}
