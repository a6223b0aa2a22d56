-- Prolong permits (patterns/bulkhead_rules.py, _renew). KEYS: leases. ARGV: lease (us), holders.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local reply = {}
for index = 2, #ARGV do
  reply[index - 1] = 0
  if redis.call('ZSCORE', KEYS[1], ARGV[index]) then
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[index])
    reply[index - 1] = 1
  end
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if last then
  redis.call('PEXPIRE', KEYS[1], math.ceil((last - now) / 1000) + 1)
end
return reply
