-- Counts entries of a stream between two IDs, bounded in entries and in bytes that the server reads.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: the first ID, or "(" and the ID before it; the last ID
-- ARGV[3], ARGV[4]: the most entries, about the most bytes
-- Returns {count, next, infoOf(stream) (info.lua)}
--   next: where the next page begins; empty: there is none
local from, last, most, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local count, read, ask = 0, 0, 1
while count < most and read < bytes do
  local entries = redis.call('XRANGE', KEYS[1], from, last, 'COUNT', ask)
  for _, entry in ipairs(entries) do
    for _, text in ipairs(entry[2]) do
      read = read + #text
    end
  end
  count = count + #entries
  if #entries < ask then
    return {count, '', infoOf(KEYS[1])}
  end
  from = '(' .. entries[#entries][1]
  -- Entries may be large, and their size is known only when they were read.
  local fit = math.floor((bytes - read) / (read / count + 1))
  ask = math.max(math.min(2 * ask, most - count, fit), 1)
end
return {count, from, infoOf(KEYS[1])}
