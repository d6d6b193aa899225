-- Reads a page of a stream, bounded in entries and bytes: one entry may exceed it. As a script it is run by the master, also for
-- clients that read from replicas.
-- KEYS[1] stream; ARGV: the first ID, or "(" and the one before it; the last ID, empty: the newest; entries and bytes at most.
-- Returns {the last ID, empty if there is no entry; where the next page begins, empty if there is none; entries}.
local from, last, most, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if last == '' then
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if not newest then
    return {'', '', {}}
  end
  last = newest[1]
end
local entries = {}
while #entries < most and bytes > 0 do
  local entry = redis.call('XRANGE', KEYS[1], from, last, 'COUNT', 1)[1]
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
