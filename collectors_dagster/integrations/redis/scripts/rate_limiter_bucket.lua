-- Token and leaky bucket: book places (patterns/rate_rules.py, _bucket).
-- KEYS: bucket, ban, present. ARGV: process, places, cost, longest wait, spread (us), ns per unit, units at once.
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

local interval, burst = tonumber(ARGV[6]), tonumber(ARGV[7])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local tolerance = math.ceil(burst * interval / 1000)
local reply, tat = {present, 0}, full
for number = 1, places do
  local next_tat = full + math.ceil(number * cost * interval / 1000)
  local wait = math.max(0, next_tat - tolerance - now)
  if number == 1 and wait > longest then
    return {present, wait}
  end
  if number > 1 and wait > reply[3] + spread then
    break
  end
  reply[number + 2] = wait
  tat = next_tat
end
redis.call('SET', KEYS[1], string.format('%.0f', tat))
redis.call('PEXPIRE', KEYS[1], math.ceil((tat - now) / 1000) + 1)
return reply
