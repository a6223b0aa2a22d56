-- Say what became of a slot (patterns/window_rules.py, _settle). KEYS: slots, state.
-- ARGV: name, outcome (0 unused, 1 accepted, 2 uncertain, 3 rejected), window (us), configured limit, pause (us), reason.
local name, outcome, window, configured = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local pause, reason = tonumber(ARGV[5]), tonumber(ARGV[6])
local unlimited, keep, rest, clean_windows, learn_from = 1000000000, 7776000000, 86400000000, 20, 5
local first_pause = {5000000, 3600000000, 5000000}
local longest_pause = {900000000, 86400000000, 900000000}
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
local function sent(slot) return tonumber(string.match(slot, '%.(%d+)$')) end
local function accepted()
  local count = 0
  for _, slot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now))) do
    if string.sub(slot, 1, 1) ~= '!' and sent(slot) > now - window then count = count + 1 end
  end
  return count
end
local function limit_now()
  local learned = of('limit')
  if configured > 0 then
    if learned > 0 and of('under') == configured then return math.min(configured, learned) end
    return configured
  end
  if learned > 0 then return learned end
  return unlimited
end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - window))
redis.call('ZREM', KEYS[1], name)
local learned_now = 0
if outcome == 1 then
  redis.call('ZADD', KEYS[1], whole(now), name)
  set('good', now)
  if of('ban') <= now and of('strikes') > 0 then set('strikes', 0) end
  local limit = limit_now()
  if configured == 0 and of('proven') < limit then
    set('proven', math.max(of('proven'), math.min(limit, accepted())))
  end
  if of('limit') > 0 and redis.call('ZCARD', KEYS[1]) >= limit and now >= of('full') + window then
    set('full', now)
    set('clean', of('clean') + 1)
    if of('clean') >= clean_windows and now >= of('learned') + rest then
      set('limit', of('limit') + math.ceil(of('limit') / 20))
      set('learned', now)
      set('clean', 0)
    end
  end
elseif outcome == 2 then
  redis.call('ZADD', KEYS[1], whole(now), '!' .. name)
elseif outcome == 3 then
  redis.call('ZADD', KEYS[1], whole(now), '!' .. name)
  set('bad', now)
  if reason == 1 and sent(name) > (state['event'] or -1) then
    local count, before = accepted(), limit_now()
    local known = before
    if before == unlimited then known = of('proven') end
    local found = math.max(math.min(count, before - 1), math.ceil(known * 4 / 5))
    if count >= learn_from and now >= (state['emptied'] or -window) + window then
      set('limit', found)
      set('proven', found)
      set('learned', now)
      set('under', configured)
      set('clean', 0)
      learned_now = 1
    end
    set('event', now)
  end
  if pause == 0 and of('ban') <= now then
    set('strikes', of('strikes') + 1)
    pause = math.min(longest_pause[reason], first_pause[reason] * 2 ^ math.min(of('strikes') - 1, 20))
  end
  if now + pause > of('ban') then
    set('ban', now + pause)
    set('reason', reason)
  end
end
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000) + 60001)
redis.call('PEXPIRE', KEYS[2], keep)
local ban, code, age = math.max(0, of('ban') - now), 0, 0
if ban > 0 then code = of('reason') end
if of('limit') > 0 then age = math.max(0, now - of('learned')) end
return {ban, code, of('limit'), of('proven'), age, learned_now}
