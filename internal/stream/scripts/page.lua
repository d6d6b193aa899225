-- Reads a page of a stream, bounded in entries and bytes; the last entry may exceed the bytes. It
-- is a script because the master runs scripts, also for clients that read from replicas.
-- KEYS[1]: stream
-- ARGV[1]: the first ID, or "(" and the ID before it
-- ARGV[2]: the last ID; empty: the newest
-- ARGV[3], ARGV[4]: the most entries, the most bytes
-- ARGV[5]: XRANGE, or XREVRANGE for the newest first
-- Returns {last, next, entries}
--   last: the last ID; empty: the stream has no entry
--   next: where the next page begins; empty: there is none
local from, last, most, bytes, read = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if last == '' then
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if not newest then
    return {'', '', {}}
  end
  last = newest[1]
end
local entries = {}
while #entries < most and bytes > 0 do
  local entry = redis.call(read, KEYS[1], from, last, 'COUNT', 1)[1]
  if not entry then
    return {last, '', entries}
  end
  entries[#entries + 1] = entry
  from = '(' .. entry[1]
  for _, text in ipairs(entry[2]) do
    bytes = bytes - #text
  end
end
return {last, from, entries}
