-- What is known of a sliding window (patterns/window_rules.py, _look). KEYS: slots, state. ARGV: window (us).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(value) return string.format('%.0f', value) end
local state = redis.call('HMGET', KEYS[2], 'ban', 'reason', 'limit', 'proven', 'learned')
local function of(index) return tonumber(state[index] or 0) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - tonumber(ARGV[1])))
local ban, reason, age = math.max(0, of(1) - now), 0, 0
if ban > 0 then reason = of(2) end
if of(3) > 0 then age = math.max(0, now - of(5)) end
local under_way = redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
return {ban, reason, of(3), of(4), age, redis.call('ZCARD', KEYS[1]), under_way}
