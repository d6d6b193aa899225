-- Renews the lease of entries that this consumer still owns: their idle time begins anew and
-- their delivery count becomes what the caller says.
-- KEYS[1] stream; ARGV: group, consumer, then pairs of ID and delivery count.
-- Returns {lost, trimmed}: lost belong to somebody else or are acknowledged.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local lost, trimmed = {}, {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
    lost[#lost + 1] = id
  elseif #redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', ARGV[i + 1], 'JUSTID') == 0 then
    trimmed[#trimmed + 1] = id
  end
end
return {lost, trimmed}
