-- Live no longer (patterns/leadership_rules.py, _depart). KEYS: instances, shares. ARGV: instance, shares given back.
redis.call('ZREM', KEYS[1], ARGV[1])
for index = 2, #ARGV do
  local owner = string.match(redis.call('HGET', KEYS[2], ARGV[index]) or '', '^%d+|%d+|(.*)$')
  if owner == ARGV[1] then
    redis.call('HDEL', KEYS[2], ARGV[index])
  end
end
return {redis.call('ZCARD', KEYS[1])}
