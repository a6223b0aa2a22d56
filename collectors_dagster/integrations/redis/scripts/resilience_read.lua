-- Answer what was told (patterns/reporting_rules.py, _read). KEYS: sums, listed.
local time = redis.call('TIME')
local sums, listed = redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])
local reply = {time[1] * 1000000 + time[2], #sums / 2}
for at = 1, #sums do
  reply[#reply + 1] = sums[at]
end
for at = 1, #listed do
  reply[#reply + 1] = listed[at]
end
return reply
