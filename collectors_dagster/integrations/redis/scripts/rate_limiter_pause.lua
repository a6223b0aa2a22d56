-- Grant nothing for so many microseconds; 0 only asks (patterns/rate_rules.py, _pause).
-- KEYS: ban. ARGV: pause (us). An earlier, longer ban stays.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ban = tonumber(redis.call('GET', KEYS[1]) or 0)
local asked = now + ARGV[1]
if asked > now and asked > ban then
  ban = asked
  redis.call('SET', KEYS[1], string.format('%.0f', ban))
  redis.call('PEXPIRE', KEYS[1], math.ceil((ban - now) / 1000) + 1)
end
return {math.max(0, ban - now)}
