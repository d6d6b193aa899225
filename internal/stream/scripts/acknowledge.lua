-- Acknowledges a page of the pending entries of a group, of all consumers.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2], ARGV[3]: group, the first ID, the last ID
-- ARGV[4], ARGV[5]: the size of the page, '1' to only count
-- Returns {number of entries, where the next page begins; empty: there is none}
local rows = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
local ids = {}
for i, row in ipairs(rows) do
  ids[i] = row[1]
end
if #ids > 0 and ARGV[5] ~= '1' then
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
end
return {#ids, #ids == tonumber(ARGV[4]) and '(' .. ids[#ids] or ''}
