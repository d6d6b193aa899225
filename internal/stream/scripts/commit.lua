-- Runs commands and acknowledges an entry, if this consumer still owns it. It is one step: nobody
-- sees some of it. Redis undoes nothing, so everything that can be checked before the first command
-- is checked then.
-- KEYS[1]: stream
-- KEYS[2], KEYS[3]: retry queue, its entries (retries.lua), if the entry is in the queue
-- The other KEYS: the keys of the commands
-- ARGV[1], ARGV[2], ARGV[3]: group, consumer, ID
-- ARGV[4]: '1' if the entry is in the retry queue
-- ARGV[5] and following: commands, each as the number of its words and the words
-- Returns
--   {1}: the commands were run, and the entry is acknowledged. Pairs of place, from 0, and error
--     follow for commands that failed after others had an effect.
--   {0}: nothing is changed; the entry is not pending, so it was acknowledged before
--   {-1}: nothing is changed; the entry belongs to another consumer
--   {-2, place, error}: nothing is changed; the first command failed, or the user may not run the
--     command at this place (the place after the last command is that of XACK)
local stream, group, consumer, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local isQueued = ARGV[4] == '1'
if isQueued then
  local holder = redis.call('HGET', KEYS[3], id .. ':holder')
  if holder ~= consumer then
    return {holder and -1 or 0}
  end
elseif #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
  return {-#redis.call('XPENDING', stream, group, id, id, 1)}
end
local commands, first = {}, 5
while first <= #ARGV do
  local last = first + ARGV[first]
  commands[#commands + 1] = {unpack(ARGV, first + 1, last)}
  first = last + 1
end
local acknowledge = isQueued and {'ZREM', KEYS[2], id} or {'XACK', stream, group, id}
-- Small embedded servers can't check rights.
local function isAllowed(command)
  if not redis.acl_check_cmd then
    return true
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  return known and allowed
end
for place, command in ipairs(commands) do
  if not isAllowed(command) then
    return {-2, place - 1, 'NOPERM the user may not run it, or the server does not know it'}
  end
end
if not isAllowed(acknowledge) then
  return {-2, #commands, 'NOPERM the user may not run it'}
end
local result = {1}
for place, command in ipairs(commands) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then
    if place == 1 then
      return {-2, 0, reply.err}
    end
    result[#result + 1] = place - 1
    result[#result + 1] = reply.err
  end
end
if isQueued then
  remove(KEYS[2], KEYS[3], id)
else
  redis.call(unpack(acknowledge))
end
return result
