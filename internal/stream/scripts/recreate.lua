-- Creates a group again after it vanished, at an ID that somebody knows who was in it. If it is there already, it was created
-- by one who knows too, or by a newcomer, from where new groups start. A consumer that does nothing tells which: where it is
-- missing, the group is set to the ID.
-- KEYS[1] stream; ARGV: group, ID, name of that consumer, '1' if what the caller knows is recent. Else a group
-- that is there is left as it is: others may have worked with it for long.
local stream, group, id, sign = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local created = redis.pcall('XGROUP', 'CREATE', stream, group, id, 'MKSTREAM')
if created.err then
  if not string.find(created.err, 'BUSYGROUP', 1, true) then
    return created
  end
  if ARGV[4] ~= '1' then
    return 0
  end
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    if consumer[2] == sign then
      return 0
    end
  end
  redis.call('XGROUP', 'SETID', stream, group, id)
end
redis.call('XGROUP', 'CREATECONSUMER', stream, group, sign)
return 1
