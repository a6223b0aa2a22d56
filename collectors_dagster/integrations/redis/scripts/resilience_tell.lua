-- Add to sums, and list what there is (patterns/reporting_rules.py, _tell).
-- KEYS: sums, listed. ARGV: how many sums; for each the series, its fallback and the amount; keys and what they are.
local MOST_SUMS, MOST_LISTED, LISTED_US, KEEP_MS = 500, 1000, 86400000000, 691200000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', now)
local count = tonumber(ARGV[1])
local known = redis.call('HLEN', KEYS[1])

for at = 2, 1 + 3 * count, 3 do
  local series = ARGV[at]
  if known >= MOST_SUMS and redis.call('HEXISTS', KEYS[1], series) == 0 then
    series = ARGV[at + 1]
  end
  redis.call('HINCRBYFLOAT', KEYS[1], series, ARGV[at + 2])
  known = redis.call('HLEN', KEYS[1])
end

local listed = redis.call('HLEN', KEYS[2])
local function make_room()
  local found = redis.call('HGETALL', KEYS[2])
  for at = 1, #found, 2 do
    if tonumber(string.match(found[at + 1], '^(%d+)|') or 0) <= now - LISTED_US then
      redis.call('HDEL', KEYS[2], found[at])
      listed = listed - 1
    end
  end
end
for at = 2 + 3 * count, #ARGV, 2 do
  local new = redis.call('HEXISTS', KEYS[2], ARGV[at]) == 0
  if new and listed >= MOST_LISTED then
    make_room()
  end
  if not new or listed < MOST_LISTED then
    redis.call('HSET', KEYS[2], ARGV[at], stamp .. '|' .. ARGV[at + 1])
    if new then
      listed = listed + 1
    end
  end
end
redis.call('PEXPIRE', KEYS[1], KEEP_MS)
redis.call('PEXPIRE', KEYS[2], KEEP_MS)
return {known, listed}
