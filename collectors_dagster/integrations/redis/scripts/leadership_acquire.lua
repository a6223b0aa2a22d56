-- Lead, if nobody does (patterns/leadership_rules.py, _acquire). KEYS: lease, token. ARGV: holder, lease (us).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- Grows also when the counter was lost: at least the time in milliseconds. It never ends.
local function next_token(key)
  local token = math.max(tonumber(redis.call('GET', key) or 0) + 1, math.floor(now / 1000))
  redis.call('SET', key, string.format('%.0f', token))
  return token
end
local lease = tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'holder', 'token', 'end')
local token, last = tonumber(state[2] or 0), tonumber(state[3] or 0)
if last > now and state[1] ~= ARGV[1] then
  return {0, last - now}
end
if last <= now then
  token = next_token(KEYS[2])
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', string.format('%.0f', token),
  'end', string.format('%.0f', now + lease))
redis.call('PEXPIRE', KEYS[1], math.ceil(lease / 1000) + 1)
return {token, lease}
