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
-- Returns lines: the server's version and the window of IDMP in seconds and items, 0 if unknown; then
-- one for each item: "+ID" if it was added, "=" if it was there, "*" if another message has its
-- key, "-error" if it was refused
local state = redis.call('GET', KEYS[2]) or '0'
local last = tonumber(string.match(state, '^%d+')) or 0
local refused = ''
if tonumber(ARGV[6]) <= last then
  refused = string.match(state, '\n.*') or ''
end
local newest = string.format('%.0f', math.max(last, tonumber(ARGV[5])))
local denied = redis.pcall('SET', KEYS[2], newest .. refused, 'PX', ARGV[2]).err
local before = refused

local function schedule(delay, entry)
  local time = redis.call('TIME')
  local due = string.format('%.0f', time[1] * 1000 + math.ceil(time[2] / 1000) + delay)
  local added = redis.pcall('ZADD', KEYS[3], due, entry)
  return type(added) == 'table' and added or due
end

-- holder returns whose a deduplication key is.
local function holder(key)
  local owner = redis.pcall('GET', key)
  return type(owner) == 'string' and owner
end

local producer = string.match(KEYS[2], '[^:]*$')
local function publish(number, place, from, to)
  local key, owner = KEYS[place], producer .. ' ' .. number
  if tonumber(number) <= last then
    local why = string.match(before, '\n' .. number .. ' ([^\n]*)')
    if why then
      return '-' .. why
    end
    local other = key and holder(key)
    return other and other ~= owner and '*' or '='
  end
  if denied then
    return '-' .. denied
  end
  if key then
    local claimed = redis.pcall('SET', key, owner, 'NX', 'PX', ARGV[3])
    if not claimed then
      return '*'
    end
  end
  local added
  if to == from + 1 then
    added = schedule(ARGV[from], ARGV[to])
  else
    added = redis.pcall('XADD', KEYS[1], unpack(ARGV, from, to))
  end
  if type(added) == 'string' then
    return '+' .. added
  end
  refused = refused .. '\n' .. number .. ' ' .. added.err
  if key then
    redis.pcall('DEL', key)
  end
  return '-' .. added.err
end

local lines, i = {''}, 6
while i < #ARGV do
  local from = i + 3
  local to = from + ARGV[i + 2] - 1
  lines[#lines + 1] = publish(ARGV[i], tonumber(ARGV[i + 1]), from, to)
  i = to + 1
end
if refused ~= before then
  redis.pcall('SET', KEYS[2], newest .. refused, 'PX', ARGV[2])
end

local version, seconds, items = redis.REDIS_VERSION_NUM or 0, 0, 0
if ARGV[4] == '1' and version >= 0x080602 then
  local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
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
