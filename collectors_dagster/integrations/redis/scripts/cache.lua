-- A shelf of a tenant's cache (patterns/cache_rules.py). What lies here may be anything: what does not fit is removed.
-- KEYS: values, about (digest -> "stored fresh cost tags", and the sum of costs in "bytes"), ends, used, tags, holders,
-- leases (ends). ARGV: operation, what it is told.
local values, about, ends, used, tags, holders, leases = unpack(KEYS)
local operation, digest, token = ARGV[1], ARGV[2], ARGV[3]
if operation == 'clear' then
  redis.call('DEL', unpack(KEYS))
  return {0}
end
local PURGED_MOST, EVICTED_MOST, ENTRY_BYTES = 100, 1000, 256
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function whole(number)
  return string.format('%.0f', number)
end

local function prolong(finish, ...)
  local left = math.ceil((finish - now) / 1000) + 1
  for _, key in ipairs({...}) do
    if redis.call('PTTL', key) < left then
      redis.call('PEXPIRE', key, left)
    end
  end
end

local function described(name)
  return string.match(redis.call('HGET', about, name) or '', '^(%d+) (%d+) (%d+) (.*)$')
end

local function in_use()
  local bytes = tonumber(redis.call('HGET', about, 'bytes') or 0)
  if not bytes or bytes ~= bytes or bytes < 0 or redis.call('ZCARD', used) == 0 then
    return 0
  end
  return bytes
end

local function remove(name)
  local _, _, cost, names = described(name)
  for tag in string.gmatch(names or '', '[^\n]+') do
    redis.call('ZREM', tags, tag .. '\0' .. name)
  end
  if cost then
    redis.call('HSET', about, 'bytes', whole(math.max(0, in_use() - cost)))
  end
  redis.call('HDEL', about, name)
  redis.call('ZREM', ends, name)
  redis.call('ZREM', used, name)
  return redis.call('HDEL', values, name)
end

local function lease_of(name)
  local finish = tonumber(redis.call('ZSCORE', leases, name) or 0)
  local holder = finish > now and redis.call('HGET', holders, name)
  if holder then
    return holder, finish
  end
  return '', 0
end

local function lend(name, holder, finish)
  redis.call('HSET', holders, name, holder)
  redis.call('ZADD', leases, finish, name)
  prolong(finish, holders, leases)
end

local function give_back(name)
  redis.call('HDEL', holders, name)
  redis.call('ZREM', leases, name)
end

if operation == 'take' then
  local lease, claim = tonumber(ARGV[4]), tonumber(ARGV[5])
  local stored, fresh = described(digest)
  local last = tonumber(redis.call('ZSCORE', ends, digest) or 0)
  local value = last > now and redis.call('HGET', values, digest)
  if value and stored then
    redis.call('ZADD', used, now, digest)
  else
    value = false
    remove(digest)
  end
  local holder, finish = lease_of(digest)
  local free = holder == '' or holder == token
  local due = claim >= 2 or (claim == 1 and (not value or tonumber(fresh) <= now))
  local granted = due and (free or claim == 3)
  if granted then
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', whole(now), 'LIMIT', 0, 10)) do
      give_back(name)
    end
    lend(digest, token, now + lease)
  end
  local other = (granted or free) and 0 or finish - now
  if not value then
    return {granted and 1 or 0, other, 0, 0, 0, 0, false}
  end
  return {granted and 1 or 0, other, 1, now - stored, fresh - now, last - now, value}
end

if operation == 'put' then
  local fresh, kept, most, value = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
  if token ~= '' then
    if lease_of(digest) ~= token then
      return {0, 0, 0}
    end
    give_back(digest)
  end
  remove(digest)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', whole(now), 'LIMIT', 0, PURGED_MOST)) do
    remove(name)
  end
  local names, seen, cost = {}, {}, #value + ENTRY_BYTES
  for index = 8, #ARGV do
    if not seen[ARGV[index]] then
      seen[ARGV[index]] = true
      names[#names + 1] = ARGV[index]
      cost = cost + #ARGV[index]
    end
  end
  local evicted = 0
  while cost <= most and in_use() + cost > most and evicted < EVICTED_MOST do
    remove(redis.call('ZRANGE', used, 0, 0)[1])
    evicted = evicted + 1
  end
  if in_use() + cost > most then
    return {2, in_use(), evicted}
  end
  local bytes = in_use() + cost
  redis.call('HSET', values, digest, value)
  redis.call('HSET', about, 'bytes', whole(bytes), digest,
    whole(now) .. ' ' .. whole(now + fresh) .. ' ' .. cost .. ' ' .. table.concat(names, '\n'))
  redis.call('ZADD', ends, now + kept, digest)
  redis.call('ZADD', used, now, digest)
  for _, tag in ipairs(names) do
    redis.call('ZADD', tags, 0, tag .. '\0' .. digest)
  end
  prolong(now + kept, values, about, ends, used, tags)
  return {1, bytes, evicted}
end

if operation == 'renew' then
  local held = lease_of(digest) == token
  if held then
    lend(digest, token, now + tonumber(ARGV[4]))
  end
  return {held and 1 or 0}
end

if operation == 'release' then
  local held = lease_of(digest) == token
  if held then
    give_back(digest)
  end
  return {held and 1 or 0}
end

if operation == 'drop' then
  give_back(digest)
  remove(digest)
  return {0}
end

-- drop_tag: the second argument is the tag.
local found = redis.call('ZRANGEBYLEX', tags, '[' .. digest .. '\0', '(' .. digest .. '\1', 'LIMIT', 0, EVICTED_MOST + 1)
for index = 1, math.min(#found, EVICTED_MOST) do
  local name = string.sub(found[index], #digest + 2)
  if remove(name) == 0 then
    redis.call('ZREM', tags, found[index])
  end
end
redis.call('DEL', holders, leases)
return {#found > EVICTED_MOST and 1 or 0}
