-- Describes consumers of a group.
-- KEYS[1]: stream
-- KEYS[2]: the records of the members; none: they are in another slot
-- ARGV[1]: group
-- ARGV[2], ARGV[3]: how many consumers to leave out, how many to describe at most
-- Returns {now, rest, consumers}, each consumer {name, pending, idle, record}
--   now: the server's time (ms)
--   rest: how many consumers come after these
--   record: its member record; empty: none
local stream, records, group, skip, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local all, page = redis.call('XINFO', 'CONSUMERS', stream, group), {}
for i = skip + 1, math.min(skip + most, #all) do
  local consumer = {}
  for f = 1, #all[i], 2 do
    consumer[all[i][f]] = all[i][f + 1]
  end
  local record = records and redis.pcall('HGET', records, consumer.name)
  page[#page + 1] = {consumer.name, consumer.pending, consumer.idle, type(record) == 'string' and record or ''}
end
return {time[1] * 1000 + math.floor(time[2] / 1000), math.max(#all - skip - most, 0), page}
