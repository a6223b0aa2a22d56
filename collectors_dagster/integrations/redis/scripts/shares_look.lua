-- Who has which share (patterns/leadership_rules.py, _look_at_shares).
-- KEYS: instances, shares; nothing is changed. ARGV: dead after (us).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local since = '(' .. string.format('%.0f', now - tonumber(ARGV[1]))
local alive = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf')
table.sort(alive)
local reply = {#alive}
for _, name in ipairs(alive) do
  reply[#reply + 1] = name
end
local found, shares, owners = redis.call('HGETALL', KEYS[2]), {}, {}
for at = 1, #found, 2 do
  local last, owner = string.match(found[at + 1], '^%d+|(%d+)|(.*)$')
  if tonumber(last or 0) > now then
    shares[#shares + 1] = found[at]
    owners[found[at]] = owner
  end
end
table.sort(shares)
for _, share in ipairs(shares) do
  reply[#reply + 1] = share
  reply[#reply + 1] = owners[share]
end
return reply
