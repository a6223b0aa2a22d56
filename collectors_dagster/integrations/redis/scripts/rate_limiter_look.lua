-- What a limit is about (patterns/rate_rules.py, _look). KEYS: bucket, ban, present; nothing is changed.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local present = redis.call('ZCOUNT', KEYS[3], '(' .. string.format('%.0f', now - 10000000), '+inf')
local ban = tonumber(redis.call('GET', KEYS[2]) or 0)
local full = tonumber(redis.call('GET', KEYS[1]) or 0)
return {present, math.max(0, ban - now), math.max(0, full - now)}
