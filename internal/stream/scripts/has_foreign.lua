-- Finds out whether any other consumer of a group has pending entries, or nobody has some of them
-- (XNACK).
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: group, consumer
-- Returns 1 or 0
local summary = redis.call('XPENDING', KEYS[1], ARGV[1])
local others = summary[1]
for _, row in ipairs(summary[4] or {}) do
  if row[1] == ARGV[2] then
    others = others - row[2]
  end
end
return others > 0 and 1 or 0
