-- Lead no longer (patterns/leadership_rules.py, _resign). KEYS: lease. ARGV: holder, token.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local state = redis.call('HMGET', KEYS[1], 'holder', 'token', 'end')
if tonumber(state[3] or 0) <= now or state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then
  return {0}
end
redis.call('DEL', KEYS[1])
return {1}
