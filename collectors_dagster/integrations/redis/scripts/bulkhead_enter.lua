-- Take a permit (patterns/bulkhead_rules.py, _enter).
-- KEYS: leases. ARGV: holder, lease (us), limit, then compartments and what is guaranteed to each.
local holder, lease, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))

local guaranteed, borrowable = {}, limit
for index = 4, #ARGV, 2 do
  guaranteed[ARGV[index]] = tonumber(ARGV[index + 1])
  borrowable = borrowable - guaranteed[ARGV[index]]
end
local in_use, processes, present = {}, {}, 0
local function count(name)
  local compartment, process = string.match(name, '^([^|]*)|([^|]*)|')
  in_use[compartment] = (in_use[compartment] or 0) + 1
  if not processes[process] then
    processes[process] = true
    present = present + 1
  end
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  count(name)
end

local held = redis.call('ZSCORE', KEYS[1], holder)
local own = string.match(holder, '^([^|]*)|')
local granted = held or (in_use[own] or 0) < (guaranteed[own] or 0)
if not granted then
  local borrowed = 0
  for name, used in pairs(in_use) do
    borrowed = borrowed + math.max(0, used - (guaranteed[name] or 0))
  end
  granted = borrowed < borrowable
end
if granted then
  redis.call('ZADD', KEYS[1], now + lease, holder)
  if not held then
    count(holder)
  end
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if last then
  redis.call('PEXPIRE', KEYS[1], math.ceil((last - now) / 1000) + 1)
end
return {granted and 1 or 0, redis.call('ZCARD', KEYS[1]), present}
