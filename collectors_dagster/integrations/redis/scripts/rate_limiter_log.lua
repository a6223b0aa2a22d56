-- Sliding window, exact: book places (patterns/rate_rules.py, _log).
-- KEYS: log, ban, present. ARGV: process, places, cost, longest wait, spread (us), limit, window (us).
local process, places, cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, spread = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Who takes part: a process is forgotten 10 s after its last question (PRESENT_US in rate_rules.py).
redis.call('ZADD', KEYS[3], now, process)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now - 10000000))
redis.call('PEXPIRE', KEYS[3], 10001)
local present = redis.call('ZCARD', KEYS[3])

local ban = tonumber(redis.call('GET', KEYS[2]) or 0)
if ban > now then
  return {present, ban - now}
end

local limit, length = tonumber(ARGV[6]), tonumber(ARGV[7])
local size = redis.call('LLEN', KEYS[1])
local last = tonumber(redis.call('LINDEX', KEYS[1], -1) or 0)
local reply = {present, 0}
for number = 1, places do
  local at = math.max(now, last)
  local hinders = size + cost - limit - 1
  if hinders >= 0 then
    at = math.max(at, tonumber(redis.call('LINDEX', KEYS[1], hinders)) + length)
  end
  local wait = at - now
  if number == 1 and wait > longest then
    return {present, wait}
  end
  if number > 1 and wait > reply[3] + spread then
    break
  end
  reply[number + 2] = wait
  local entry = string.format('%.0f', at)
  for _ = 1, cost do
    redis.call('RPUSH', KEYS[1], entry)
  end
  last, size = at, size + cost
  if size > limit then
    redis.call('LPOP', KEYS[1], size - limit)
    size = limit
  end
end
redis.call('PEXPIRE', KEYS[1], math.ceil((last + length - now) / 1000) + 1)
return reply
