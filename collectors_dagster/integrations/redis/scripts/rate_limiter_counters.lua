-- Sliding window for large limits: two counters (patterns/rate_rules.py, _counters).
-- KEYS: counters, ban, present. ARGV: process, places, cost, longest wait, spread (us), limit, window (us).
local process, places, cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- It books nothing later than now, so that the two waits do not matter.
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
local state = redis.call('HMGET', KEYS[1], 'window', 'used', 'before')
local window, used, before = tonumber(state[1] or 0), tonumber(state[2] or 0), tonumber(state[3] or 0)
local current = math.floor(now / length)
if window ~= current then
  if window == current - 1 then before = used else before = 0 end
  window, used = current, 0
end
local left = length - now % length
local room = limit - used - math.ceil(before * left / length)
local booked = math.min(places, math.floor(math.max(0, room) / cost))
if booked == 0 then
  local spare = limit - used - places * cost
  if spare < 0 or before == 0 then
    return {present, left}
  end
  return {present, math.max(1, left - math.floor(spare * length / before))}
end
redis.call('HSET', KEYS[1], 'window', string.format('%.0f', window),
  'used', string.format('%.0f', used + booked * cost), 'before', string.format('%.0f', before))
redis.call('PEXPIRE', KEYS[1], math.ceil(((window + 2) * length - now) / 1000) + 1)
local reply = {present, 0}
for number = 1, booked do
  reply[number + 2] = 0
end
return reply
