-- Returns which commands the user may not run on which keys, without running any.
-- KEYS[1]: the stream, for its slot
-- ARGV: commands, each as the number of its words and the words
-- Returns the server's version (0x00MMmmpp; 0: unknown), and then the indexes of the denied
-- commands, from 0. Servers before 7.0 and small embedded ones can't check rights: then nothing is
-- denied.
local denied = {}
local first, place = 1, 0
while redis.acl_check_cmd and first <= #ARGV do
  local last = first + ARGV[first]
  local known, allowed = pcall(redis.acl_check_cmd, unpack(ARGV, first + 1, last))
  if not (known and allowed) then
    denied[#denied + 1] = place
  end
  first, place = last + 1, place + 1
end
table.insert(denied, 1, redis.REDIS_VERSION_NUM or 0)
return denied
