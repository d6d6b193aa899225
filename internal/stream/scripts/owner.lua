-- Begins scripts that change who owns a stream for a group.
-- The owner key is a hash. consumer: who owns the stream; empty: nobody. generation: a number that
-- rises with each owner. lease: how long the owner's lease is (ms). until: when it is over (ms).
local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function text(n)
  return string.format('%.0f', n)
end

-- Returns when a lease that begins now is over, rounded up.
local function after(lease)
  return text(math.ceil(microseconds() / 1000) + lease)
end

-- A server whose memory is full refuses HSET, unless another write of the script comes before. An
-- owner must keep its lease then: what it acknowledges frees memory. The key expires after 30 days
-- without a write.
local function set(key, ...)
  redis.call('PEXPIRE', key, 2592000000)
  redis.call('HSET', key, ...)
  redis.call('PEXPIRE', key, 2592000000) -- the key may be new
end

-- keep: the lease of the owner begins now; release: nobody is the owner.
local function settle(key, action)
  if action == 'keep' then
    local lease = redis.call('HMGET', key, 'lease')[1]
    set(key, 'until', after(lease))
  else
    set(key, 'consumer', '', 'until', '0')
  end
end
