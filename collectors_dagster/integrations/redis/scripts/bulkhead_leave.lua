-- Give permits back (patterns/bulkhead_rules.py, _leave). KEYS: leases. ARGV: holders.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
for _, holder in ipairs(ARGV) do
  redis.call('ZREM', KEYS[1], holder)
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if last then
  redis.call('PEXPIRE', KEYS[1], math.ceil((last - now) / 1000) + 1)
end
return {redis.call('ZCARD', KEYS[1])}
