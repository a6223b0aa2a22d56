-- Whether state can be written and when it is: leaves a mark for a second.
-- Answers the server's time in microseconds.
local time = redis.call('TIME')
redis.call('SET', KEYS[1], 1, 'PX', 1000)
return { time[1] * 1000000 + time[2] }
