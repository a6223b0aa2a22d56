-- Counts, and forgets a given time after the last count. ARGV: by how many, milliseconds it is kept.
-- Answers the count and the server's time in microseconds.
local time = redis.call('TIME')
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { count, time[1] * 1000000 + time[2] }
