-- Makes a consumer the owner of a stream, if nobody is, or if the lease of the owner is over.
-- KEYS[1]: owner key (owner.lua)
-- ARGV[1], ARGV[2]: consumer, how long its lease is (ms)
-- Returns {owner, generation, ms until the lease of another owner is over}
local key, consumer, lease = KEYS[1], ARGV[1], ARGV[2]
local now = timeIn(math.floor)
local state = redis.call('HMGET', key, 'consumer', 'generation', 'lease', 'until')
local owner, generation = state[1] or '', tonumber(state[2]) or 0
if owner ~= '' and owner ~= consumer then
  local most, left = (tonumber(state[3]) or 0) + 1, (tonumber(state[4]) or 0) - now
  if left > most then -- the server's clock was set back
    left = most
    set(key, 'until', text(now + left))
  end
  if left > 0 then
    return {owner, generation, left}
  end
end
-- If the key was lost, the time is later than the last generation.
generation = math.max(generation + 1, now)
set(key, 'consumer', consumer, 'generation', text(generation), 'lease', lease, 'until', text(timeIn(math.ceil) + lease))
return {consumer, generation, 0}
