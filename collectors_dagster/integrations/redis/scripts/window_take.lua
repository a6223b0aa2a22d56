-- Take one slot of a sliding window, or say how long to wait (patterns/window_rules.py, _take).
-- KEYS: slots, state, hungry, seen. ARGV: process, number, window, lease (us), configured limit, urgent, reserve
-- (thousandths), and what the process knows: limit, proven, age, ban left (us), reason.
local process, number, window, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local configured, urgent, reserve = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local unlimited, poll, flight, patience, keep = 1000000000, 10000, 250000, 250000, 7776000000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(value) return string.format('%.0f', value) end

local state = {}
local pairs_of = redis.call('HGETALL', KEYS[2])
for index = 1, #pairs_of, 2 do
  state[pairs_of[index]] = tonumber(pairs_of[index + 1])
end
local function of(field) return state[field] or 0 end
local function set(field, value)
  state[field] = value
  redis.call('HSET', KEYS[2], field, whole(value))
end

-- Believe what the process knows, where nothing is known here.
if of('limit') == 0 and tonumber(ARGV[8]) > 0 then
  set('limit', tonumber(ARGV[8]))
  set('learned', now - tonumber(ARGV[10]))
  set('under', configured)
  set('emptied', now)
end
if of('proven') == 0 and tonumber(ARGV[9]) > 0 then set('proven', tonumber(ARGV[9])) end
if tonumber(ARGV[11]) > 0 and now + tonumber(ARGV[11]) > of('ban') then
  set('ban', now + tonumber(ARGV[11]))
  set('reason', tonumber(ARGV[12]))
end

redis.call('ZADD', KEYS[4], now, process)
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', whole(now - window))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - window))
if urgent == 1 then set('urgent_until', now + window) end

-- Others that wait, and have not given up.
local others, rivals = {}, 0
local waiting = redis.call('HGETALL', KEYS[3])
for index = 1, #waiting, 2 do
  local until_us, rank = string.match(waiting[index + 1], '^(%d+)|(%d)$')
  if tonumber(until_us or 0) <= now then
    redis.call('HDEL', KEYS[3], waiting[index])
  elseif waiting[index] ~= process then
    others[waiting[index]] = tonumber(rank)
    rivals = rivals + 1
  end
end

local used = redis.call('ZCARD', KEYS[1])
local under_way = redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
local function wait_for()
  if of('ban') > now then return of('ban') - now end
  local limit = of('limit')
  if configured > 0 then
    if limit == 0 or of('under') ~= configured then limit = configured end
    limit = math.min(configured, limit)
  elseif limit == 0 then
    limit = unlimited
  end
  local proven = math.min(limit, of('proven'))
  if configured > 0 then proven = limit end
  if of('limit') > 0 and now < (state['emptied'] or -window) + window then proven = 0 end
  local good = state['good'] or -1
  if good < of('bad') or good <= now - window then proven = 0 end
  local kept = 0
  if urgent == 0 and of('urgent_until') > now and limit < unlimited then
    kept = math.min(limit - 1, math.ceil(limit * reserve / 1000))
  end
  local claims = 0
  if rivals > 0 then
    local held = {}
    for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
      local holder = string.match(name, '^!*([^.]*)')
      held[holder] = (held[holder] or 0) + 1
    end
    local fair = math.floor(limit / (rivals + 1))
    for name, rank in pairs(others) do
      local poorer = rank == urgent and (held[process] or 0) >= fair and (held[name] or 0) < fair
      if rank > urgent or poorer then claims = claims + 1 end
    end
  end
  local room = limit - kept - claims - used
  if room <= 0 then
    local needed = 1 - room
    if needed > used then return poll end
    local date = tonumber(redis.call('ZRANGE', KEYS[1], needed - 1, needed - 1, 'WITHSCORES')[2])
    local wait = math.min(window, flight)
    if date <= now then wait = math.max(1, date + window - now) end
    if claims > 0 and needed <= claims then wait = math.min(wait, poll) end
    return wait
  end
  if used >= proven and under_way > 0 then return poll end
  return 0
end

local wait = wait_for()
if wait == 0 then
  redis.call('HDEL', KEYS[3], process)
  redis.call('ZADD', KEYS[1], whole(now + lease), process .. '.' .. number .. '.' .. whole(now))
  used, under_way = used + 1, under_way + 1
else
  redis.call('HSET', KEYS[3], process, whole(now + wait + patience) .. '|' .. urgent)
end
redis.call('PEXPIRE', KEYS[1], math.ceil((window + lease) / 1000) + 1)
redis.call('PEXPIRE', KEYS[2], keep)
redis.call('PEXPIRE', KEYS[3], math.ceil((window + wait + patience) / 1000) + 1)
redis.call('PEXPIRE', KEYS[4], math.ceil(window / 1000) + 1)
local ban, reason, age = math.max(0, of('ban') - now), 0, 0
if ban > 0 then reason = of('reason') end
if of('limit') > 0 then age = math.max(0, now - of('learned')) end
local granted = 0
if wait == 0 then granted = 1 end
return {granted, now, wait, ban, reason, of('limit'), of('proven'), age, used, under_way, redis.call('ZCARD', KEYS[4])}
