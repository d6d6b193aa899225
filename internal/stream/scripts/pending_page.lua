-- Lists pending entries of a group, or looks for the highest delivery count of the page.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: group, the first ID
-- ARGV[3]: how many entries at most
-- ARGV[4]: empty, or the only consumer
-- ARGV[5]: 'list' or 'max'
-- Returns {now, entries}, each {ID, consumer, idle, deliveries}; with 'max' the count.
--   now: the server's time (ms)
local maxCount = 2 ^ 53 - 1 -- XNACK FATAL sets a larger one
local command = {'XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3]}
if ARGV[4] ~= '' then
  command[7] = ARGV[4]
end
local rows, highest = redis.call(unpack(command)), 0
for _, row in ipairs(rows) do
  row[4] = math.min(row[4], maxCount)
  highest = math.max(highest, row[4])
end
if ARGV[5] == 'max' then
  return highest
end
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), rows}
