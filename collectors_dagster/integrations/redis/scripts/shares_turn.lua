-- Be alive, give shares back and claim shares (patterns/leadership_rules.py, _turn).
-- KEYS: instances, shares, token. ARGV: instance, dead after (us), lease (us), shares given back, those, shares claimed.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- Grows also when the counter was lost: at least the time in milliseconds. It never ends.
local function next_token(key)
  local token = math.max(tonumber(redis.call('GET', key) or 0) + 1, math.floor(now / 1000))
  redis.call('SET', key, string.format('%.0f', token))
  return token
end
local instance, dead, lease, given = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZADD', KEYS[1], now, instance)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - dead))
redis.call('PEXPIRE', KEYS[1], math.ceil(dead / 1000) + 1)

local function owner_of(share)
  local token, last, owner = string.match(redis.call('HGET', KEYS[2], share) or '', '^(%d+)|(%d+)|(.*)$')
  return owner, tonumber(token or 0), tonumber(last or 0)
end
for index = 5, 4 + given do
  if owner_of(ARGV[index]) == instance then
    redis.call('HDEL', KEYS[2], ARGV[index])
  end
end

local alive = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(alive)
local reply = {#alive}
for _, name in ipairs(alive) do
  reply[#reply + 1] = name
end
for index = 5 + given, #ARGV do
  local owner, token, last = owner_of(ARGV[index])
  if last > now and owner ~= instance then
    reply[#reply + 1] = 0
  else
    if last <= now then
      token = next_token(KEYS[3])
    end
    redis.call('HSET', KEYS[2], ARGV[index], string.format('%.0f|%.0f|%s', token, now + lease, instance))
    reply[#reply + 1] = token
  end
end
redis.call('PEXPIRE', KEYS[2], math.ceil(lease / 1000) + 1)
return reply
