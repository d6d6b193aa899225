-- Finds out whether any other consumer of a group has pending entries.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: group, consumer
-- Returns 1 or 0
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1])[4] or {}) do
  if row[1] ~= ARGV[2] then
    return 1
  end
end
return 0
