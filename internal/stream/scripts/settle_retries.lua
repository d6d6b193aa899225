-- Renews the leases of entries of the retry queue that this consumer holds, releases them so that
-- others can take them at once, or removes them because they are acknowledged.
-- KEYS[1], KEYS[2]: retry queue, its entries (retries.lua)
-- ARGV[1], ARGV[2]: consumer, how long its lease is (ms)
-- ARGV[3]: renew, release or acknowledge
-- ARGV[4] and following: pairs of ID and delivery count
-- Returns the IDs of entries that this consumer does not hold.
local queue, entries, consumer, action = KEYS[1], KEYS[2], ARGV[1], ARGV[3]
local now, lost = nil, {}
for i = 4, #ARGV, 2 do
  local id, deliveries = ARGV[i], tonumber(ARGV[i + 1])
  local state = redis.call('HMGET', entries, id .. ':holder', id .. ':deliveries')
  if state[1] ~= consumer then
    lost[#lost + 1] = id
  elseif action == 'acknowledge' then
    remove(queue, entries, id)
  elseif action == 'release' then
    now = now or timeOf(entries)
    put(queue, now, id)
    redis.call('HSET', entries, id .. ':holder', '', id .. ':deliveries', string.format('%.0f', deliveries))
  else -- the count never decreases: the renewal may have been in flight when a delivery was counted
    now = now or timeOf(entries)
    put(queue, now + ARGV[2], id)
    redis.call('HSET', entries, id .. ':deliveries', string.format('%.0f', math.max(deliveries, tonumber(state[2]) or 0)))
  end
end
return lost
