-- Fixed window: book places (patterns/rate_rules.py, _fixed).
-- KEYS: window, ban, present. ARGV: process, places, cost, longest wait, spread (us), limit, window (us).
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
local state = redis.call('HMGET', KEYS[1], 'window', 'used')
local window, used = tonumber(state[1] or 0), tonumber(state[2] or 0)
if window < math.floor(now / length) then
  window, used = math.floor(now / length), 0
end
local reply = {present, 0}
for number = 1, places do
  local later, spent = window, used + cost
  if spent > limit then
    later, spent = window + 1, cost
  end
  local wait = math.max(0, later * length - now)
  if number == 1 and wait > longest then
    return {present, wait}
  end
  if number > 1 and wait > reply[3] + spread then
    break
  end
  reply[number + 2] = wait
  window, used = later, spent
end
redis.call('HSET', KEYS[1], 'window', string.format('%.0f', window), 'used', string.format('%.0f', used))
redis.call('PEXPIRE', KEYS[1], math.ceil(((window + 1) * length - now) / 1000) + 1)
return reply
