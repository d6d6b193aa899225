-- Describes the members of a partitioned topic's group whose leases are not over (beat.lua).
-- KEYS[1], KEYS[2]: members, their leases
-- ARGV[1]: how many to describe at most
-- Returns {name, ms until its lease is over, state} of each
local time, rows = redis.call('TIME'), {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leases = redis.call('ZRANGE', KEYS[2], string.format('(%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
for i = 1, #leases, 2 do
  local value = redis.call('HGET', KEYS[1], leases[i])
  if value then
    rows[#rows + 1] = {leases[i], leases[i + 1] - now, string.match(value, ' (.*)') or ''}
  end
end
return rows
