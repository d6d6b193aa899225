-- Makes a consumer the owner of a stream, if nobody is, or if the lease of the owner is over.
-- KEYS[1]: owner key (owner.lua)
-- ARGV[1], ARGV[2]: consumer, how long its lease is (ms)
-- Returns {owner, generation, ms until the lease of another owner is over}
local key, consumer, lease = KEYS[1], ARGV[1], ARGV[2]
local now = microseconds()
local state = redis.call('HMGET', key, 'consumer', 'generation', 'lease', 'until')
local owner, generation = state[1] or '', tonumber(state[2]) or 0
if owner ~= '' and owner ~= consumer then
  local longest, left = tonumber(state[3]) or 0, (tonumber(state[4]) or 0) - math.floor(now / 1000)
  if left > longest + 1 then -- the server's clock was set back
    left = longest + 1
    set(key, 'until', after(longest))
  end
  if left > 0 then
    return {owner, generation, left}
  end
end
-- If the key was lost, the time is later than the last generation.
generation = math.max(generation + 1, now)
set(key, 'consumer', consumer, 'generation', text(generation), 'lease', lease, 'until', after(lease))
return {consumer, generation, 0}
