-- Writes what a member of a partitioned topic's group says of itself, removes members whose lease is
-- over, and returns what changed since the caller's last call.
-- KEYS[1]: members, a hash: name -> lease (ms), a space, state. Its field '' has the record's
--   version, birth (ms) and base: who knows a version below the base needs all members.
-- KEYS[2]: leases, a sorted set: name -> when the lease is over (ms)
-- KEYS[3]: changes, a sorted set: name -> the version in which its state changed last
-- ARGV[1], ARGV[2], ARGV[3]: name, state (empty: the member leaves), lease (ms)
-- ARGV[4]: the version that the caller knows
-- ARGV[5], ARGV[6]: the most members; how long the keys stay after the last call (ms)
-- Returns {version, all, age, next, members}
--   version: 0 if there is no record any more
--   all: 1 if members has all; 0: those that changed since the caller's version, and nobody is gone
--   age: of the record (ms)
--   next: when the next lease is over, if nobody renews it (ms from now)
--   members: name, lease and state, ...
local members, leases, changes = KEYS[1], KEYS[2], KEYS[3]
local name, state, lease, known = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('HGET', members, '') or '0 0 0'
local version, birth, base = string.match(head, '^(%d+) (%d+) (%d+)$')
version, birth, base = tonumber(version or 0), tonumber(birth or 0), tonumber(base or 0)
-- Versions begin at the time, so that those of a record that was lost are below those of the next.
local following = math.max(version + 1, now)

local function remove(who)
  if redis.call('ZREM', leases, who) == 1 then
    redis.call('HDEL', members, who)
    redis.call('ZREM', changes, who)
    version, base = following, following
  end
end

if state == '' then
  remove(name)
end
local last = redis.call('ZRANGE', leases, -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) > now then
  for _, who in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 100)) do
    remove(who)
  end
else
  -- A record without members is a new one, also if all were silent for a lease: nobody reached the
  -- server then.
  redis.call('DEL', members, leases, changes)
  head, version, birth, base = '', following, now, following
  if state == '' then
    return {0, 1, 0, 0, {}}
  end
end
if state ~= '' then
  if not redis.call('ZSCORE', leases, name) and redis.call('ZCARD', leases) >= tonumber(ARGV[5]) then
    return redis.error_reply('ERR the group has too many members')
  end
  redis.call('ZADD', leases, now + lease, name)
  local value = ARGV[3] .. ' ' .. state
  if redis.call('HGET', members, name) ~= value then
    redis.call('HSET', members, name, value)
    redis.call('ZADD', changes, following, name)
    version = following
  end
end
-- When the clock was set back, leases would last that much longer. Leases of others may be longer
-- than that of the caller.
for _, who in ipairs(redis.call('ZRANGEBYSCORE', leases, string.format('(%.0f', now + lease), '+inf', 'LIMIT', 0, 100)) do
  local value = redis.call('HGET', members, who)
  local ends = now + tonumber(value and string.match(value, '^%d+') or 0)
  if tonumber(redis.call('ZSCORE', leases, who)) > ends then
    redis.call('ZADD', leases, ends, who)
  end
end
birth = math.min(birth, now)
local new = string.format('%.0f %.0f %.0f', version, birth, base)
if new ~= head then
  redis.call('HSET', members, '', new)
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[6])
end

local all, rows = known < base or known > version, {}
if all then
  local pairs = redis.call('HGETALL', members)
  for i = 1, #pairs, 2 do
    if pairs[i] ~= '' then
      rows[#rows + 1] = pairs[i]
      rows[#rows + 1] = pairs[i + 1]
    end
  end
elseif known < version then
  for _, who in ipairs(redis.call('ZRANGEBYSCORE', changes, string.format('(%.0f', known), '+inf')) do
    local value = redis.call('HGET', members, who)
    if value then
      rows[#rows + 1] = who
      rows[#rows + 1] = value
    end
  end
end
local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
return {version, all and 1 or 0, now - birth, math.max(tonumber(first[2]) - now, 0), rows}
