-- Takes over pending entries that are still owned by whom the caller saw them with. Their delivery
-- counts stay: an entry that is only read ahead when a consumer dies has done no harm. Only that of an
-- entry which nobody was given becomes 1, as XREADGROUP counts what it hands out.
-- KEYS[1] stream; ARGV: group, consumer, min-idle (ms), then pairs of ID and owner. With "frozen" for min-idle it takes what has no
-- idle time: the server's clock was set back.
-- Returns {entries, trimmed}: entries as {ID, fields, deliveries}, trimmed the IDs whose entry
-- is no longer in the stream (XCLAIM takes those off the pending list).
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local frozen = ARGV[3] == 'frozen'
local min_idle = frozen and 0 or ARGV[3]
local entries, trimmed = {}, {}
local function pending(id)
  return redis.call('XPENDING', stream, group, id, id, 1)[1]
end
for i = 4, #ARGV, 2 do
  local id, owner = ARGV[i], ARGV[i + 1]
  local row = pending(id)
  if row and row[2] == owner and not (frozen and row[3] > 0) then
    local claimed = redis.call('XCLAIM', stream, group, consumer, min_idle, id, 'RETRYCOUNT', math.max(row[4], 1))
    if claimed[1] and claimed[1][2] then
      entries[#entries + 1] = {id, claimed[1][2], row[4]}
    elseif not pending(id) then
      trimmed[#trimmed + 1] = id
    end
  end
end
return {entries, trimmed}
