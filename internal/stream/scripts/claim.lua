-- Takes over pending entries that are still owned by whom the caller saw them with, until there are enough entries or bytes.
-- Their delivery counts stay: an entry that is only read ahead when a consumer dies has done no harm. Only that of an
-- entry which nobody was given becomes 1, as XREADGROUP counts what it hands out.
-- KEYS[1] stream; ARGV: group, consumer, min-idle (ms), how many entries at most, how many bytes about, '1' to let the idle
-- time go on, then pairs of ID and owner. With 'frozen' for min-idle it takes what has no idle time: the server's clock was set
-- back.
-- Returns {entries, trimmed, tried}: entries as {ID, fields, deliveries, idle time (ms)}, trimmed the IDs whose entry
-- is no longer in the stream (XCLAIM takes those off the pending list), and how many of the pairs are dealt with.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local most, bytes, keep_idle = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local frozen = ARGV[3] == 'frozen'
local min_idle = frozen and 0 or ARGV[3]
local entries, trimmed, tried = {}, {}, 0
-- From 2^53 on numbers lose digits, and Lua writes 2^63-1 in a way that XCLAIM refuses. Such a count (XNACK FATAL) is
-- kept; the reply has 2^53-1 instead.
local function count(n)
  return n < 2 ^ 53 and string.format('%.0f', n) or '9223372036854775807'
end
local function pending(id)
  return redis.call('XPENDING', stream, group, id, id, 1)[1]
end
for i = 7, #ARGV, 2 do
  if #entries >= most or bytes <= 0 then
    break
  end
  tried = tried + 1
  local id, owner = ARGV[i], ARGV[i + 1]
  local row = pending(id)
  if row and row[2] == owner and not (frozen and row[3] > 0) then
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
