-- Who leads (patterns/leadership_rules.py, _look). KEYS: lease; nothing is changed.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local state = redis.call('HMGET', KEYS[1], 'holder', 'token', 'end')
local last = tonumber(state[3] or 0)
if last <= now then
  return {0, 0, ''}
end
return {last - now, tonumber(state[2]), state[1]}
