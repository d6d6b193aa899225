-- Takes over pending entries. Each is claimed only if it still has the owner that the caller saw,
-- and a script sees the sizes of the entries, so it can bound the reply in bytes.
-- A claim is not a delivery, so the delivery count stays: entries that a consumer had only read
-- ahead when it crashed must not reach the delivery limit. Only a count of 0 becomes 1, as with
-- XREADGROUP.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: group, consumer
-- ARGV[3]: min-idle (ms). Or 'frozen': claim only entries without idle time, because the server's
--   clock was set back, and with the delivery count that the caller saw: an owner that came back
--   counts a delivery, and its entry has no idle time for a moment.
-- ARGV[4], ARGV[5]: the most entries, and about the most bytes
-- ARGV[6]: '1' to keep the idle times
-- ARGV[7] and following: triples of ID, owner and delivery count
-- Returns {entries, trimmed, tried}
--   entries: {ID, fields, deliveries, idle time (ms)}
--   trimmed: IDs of entries that are no longer in the stream; XCLAIM has removed them from the
--     pending list
--   tried: how many triples were handled
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local most, bytes, keep_idle = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local frozen = ARGV[3] == 'frozen'
local min_idle = frozen and 0 or ARGV[3]
local entries, trimmed, tried = {}, {}, 0
-- Lua can't hold numbers from 2^53 on exactly, and writes 2^63-1 in a form that XCLAIM refuses.
-- Such a count (XNACK FATAL) is written as 2^63-1; the reply has 2^53-1 instead.
local function count(n)
  return n < 2 ^ 53 and string.format('%.0f', n) or '9223372036854775807'
end
local function pending(id)
  return redis.call('XPENDING', stream, group, id, id, 1)[1]
end
for i = 7, #ARGV, 3 do
  if #entries >= most or bytes <= 0 then
    break
  end
  tried = tried + 1
  local id, owner, deliveries = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local row = pending(id)
  if row and row[2] == owner and not (frozen and (row[3] > 0 or row[4] ~= deliveries)) then
    local claim = {'XCLAIM', stream, group, consumer, min_idle, id, 'RETRYCOUNT', count(math.max(row[4], 1))}
    if keep_idle then
      claim[#claim + 1] = 'IDLE'
      claim[#claim + 1] = row[3]
    end
    local claimed = redis.call(unpack(claim))
    local fields = claimed[1] and claimed[1][2]
    if fields then
      entries[#entries + 1] = {id, fields, math.min(row[4], 2 ^ 53 - 1), keep_idle and row[3] or 0}
      for _, text in ipairs(fields) do
        bytes = bytes - #text
      end
    elseif not pending(id) then
      trimmed[#trimmed + 1] = id
    end
  end
end
return {entries, trimmed, tried}
