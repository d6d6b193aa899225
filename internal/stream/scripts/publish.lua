-- Adds or schedules the items of a producer, each once. All is written, or nothing: the first write
-- is the state, and a server refuses the first write of a script or none.
-- KEYS[1]: stream
-- KEYS[2]: state of the producer: the number of its last item, and a line "<number> <error>" for
--          each item of its last pipeline that was refused
-- KEYS[3...]: delayed messages of the stream if there are any, and deduplication keys
-- ARGV[1]: not used
-- ARGV[2]: how long to keep the state, in ms
-- ARGV[3]: how long to keep deduplication keys, in ms
-- ARGV[4]: 1: return how XADD IDMP is configured
-- ARGV[5]: number of the last item
-- ARGV[6...]: the items: number, place of its deduplication key in KEYS or 0, number of words, words.
--             The words are those of XADD from MAXLEN, MINID or * on; two words are the delay in ms and
--             the entry of a delayed message: see move_delayed.lua
-- Returns lines: the server's version and the window of IDMP in seconds and items, 0 if unknown, or
-- an empty line if not asked; then one for each item: "+ID" if it was added, "=" if it was there, "*"
-- if another message has its key, "-error" if it was refused
local call, pcall, stream, stateKey = redis.call, redis.pcall, KEYS[1], KEYS[2]
local state = call('GET', stateKey) or '0'
local last = tonumber(state)
local before = ''
if not last then
  last = tonumber(string.match(state, '^%d+'))
  if tonumber(ARGV[6]) <= last then
    before = string.match(state, '\n.*')
  end
end
local newest = ARGV[5]
if tonumber(newest) < last then
  newest = string.format('%.0f', last)
end
local refused = before
local denied = pcall('SET', stateKey, newest .. refused, 'PX', ARGV[2]).err

local lines, count, i = {''}, #ARGV, 6
while i < count do
  local number, place, from = ARGV[i], ARGV[i + 1], i + 3
  local to = from + ARGV[i + 2] - 1
  local key, owner = place ~= '0' and KEYS[tonumber(place)]
  if key then
    owner = string.match(stateKey, '[^:]*$') .. ' ' .. number
  end
  local line
  if tonumber(number) <= last then
    line = string.match(before, '\n' .. number .. ' ([^\n]*)')
    if line then
      line = '-' .. line
    else
      local other = key and pcall('GET', key)
      line = type(other) == 'string' and other ~= owner and '*' or '='
    end
  elseif denied then
    line = '-' .. denied
  elseif key and not pcall('SET', key, owner, 'NX', 'PX', ARGV[3]) then
    line = '*'
  else
    local added
    if to > from + 1 then
      added = pcall('XADD', stream, unpack(ARGV, from, to))
    else
      local time = call('TIME')
      local due = string.format('%.0f', time[1] * 1000 + math.ceil(time[2] / 1000) + ARGV[from])
      added = pcall('ZADD', KEYS[3], due, ARGV[to])
      added = type(added) == 'number' and due or added
    end
    if type(added) == 'string' then
      line = '+' .. added
    else
      line = '-' .. added.err
      refused = refused .. '\n' .. number .. ' ' .. added.err
      if key then
        pcall('DEL', key)
      end
    end
  end
  lines[#lines + 1] = line
  i = to + 1
end
if refused ~= before then
  pcall('SET', stateKey, newest .. refused, 'PX', ARGV[2])
end

if ARGV[4] ~= '1' then
  return table.concat(lines, '\n')
end
local version, seconds, items = redis.REDIS_VERSION_NUM or 0, 0, 0
if version >= 0x080602 then
  local info = pcall('XINFO', 'STREAM', stream)
  for n = 1, #info - 1, 2 do
    if info[n] == 'idmp-duration' then
      seconds = info[n + 1]
    elseif info[n] == 'idmp-maxsize' then
      items = info[n + 1]
    end
  end
end
lines[1] = string.format('%.0f %.0f %.0f', version, seconds, items)
return table.concat(lines, '\n')
