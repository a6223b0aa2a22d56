-- One operation on a circuit. The same rule, in words and in Python: collectors_dagster/patterns/breaker_rule.py.
-- KEYS[1]: a hash. ARGV: operation, ten terms of the policy, then what the operation needs.
-- Lists are kept as text in fields: few, short, and read in one go.

local CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, METRICS_ONLY = 0, 1, 2, 3, 5
local KEEP_MS, KEEP_FORCED_MS, HISTORY, STEPS = 86400000, 31622400000, 20, 10

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local key, operation = KEYS[1], ARGV[1]
local terms = {}
for i = 2, 11 do terms[i - 1] = tonumber(ARGV[i]) end
local threshold, failure_permille, slow_permille, minimum_calls, window_calls = unpack(terms, 1, 5)
local window_us, recovery_us, most_probes, successes, lease_us = unpack(terms, 6, 10)

local found = redis.call('HMGET', key, 'phase', 'generation', 'until', 'succeeded', 'calls', 'buckets', 'probes', 'history')
local phase, generation = tonumber(found[1]) or CLOSED, tonumber(found[2]) or 0
local open_until, succeeded = tonumber(found[3]) or 0, tonumber(found[4]) or 0
local calls, buckets, history = found[5] or '', found[6] or '', found[8] or ''
local changed = false

local function digits(number) return string.format('%.0f', number) end

local probes, probe_count = {}, 0
for name, stop in string.gmatch(found[7] or '', '(%S+) (%d+)') do
  probes[name] = tonumber(stop)
  probe_count = probe_count + 1
end

-- A new generation, which knows nothing of the old one's calls and probes.
local function enter(next_phase, reason)
  local line = digits(now) .. ' ' .. phase .. ' ' .. next_phase .. ' ' .. reason
  history = history == '' and line or history .. '\n' .. line
  local _, breaks = string.gsub(history, '\n', '')
  if breaks >= HISTORY then history = string.sub(history, string.find(history, '\n', 1, true) + 1) end
  phase, generation, open_until, succeeded = next_phase, generation + 1, 0, 0
  calls, buckets, probes, probe_count = '', '', {}, 0
  changed = true
end

local function open(reason)
  enter(OPEN, reason)
  open_until = now + recovery_us
end

local function count(text, what)
  local _, times = string.gsub(text, what, '')
  return times
end

-- The steps of a window of time that are still in it, as text, and their sums.
local function within(number)
  local kept, sums = {}, {0, 0, 0}
  for at, c, f, s in string.gmatch(buckets, '(%d+),(%d+),(%d+),(%d+)') do
    at = tonumber(at)
    if number - STEPS < at and at <= number then
      kept[#kept + 1] = {at, tonumber(c), tonumber(f), tonumber(s)}
      sums = {sums[1] + c, sums[2] + f, sums[3] + s}
    end
  end
  return kept, sums
end

local function totals()
  if window_us > 0 then
    local _, sums = within(math.floor(now / math.floor(window_us / STEPS)))
    return sums[1], sums[2], sums[3]
  end
  local both = count(calls, 'x')
  return #calls, count(calls, 'f') + both, count(calls, 's') + both
end

local function verdict()
  local all, failures, slow = totals()
  if threshold > 0 and failures >= threshold then return 'failures' end
  if all < minimum_calls then return nil end
  if failure_permille > 0 and failures * 1000 >= failure_permille * all then return 'failure ratio' end
  if slow_permille > 0 and slow * 1000 >= slow_permille * all then return 'slow ratio' end
  return nil
end

local function count_by_time(all, failures, slow)
  local number = math.floor(now / math.floor(window_us / STEPS))
  local kept = within(number)
  local last = kept[#kept]
  if last and last[1] == number then
    last[2], last[3], last[4] = last[2] + all, last[3] + failures, last[4] + slow
  else
    kept[#kept + 1] = {number, all, failures, slow}
  end
  local texts = {}
  for i, one in ipairs(kept) do
    texts[i] = digits(one[1]) .. ',' .. digits(one[2]) .. ',' .. digits(one[3]) .. ',' .. digits(one[4])
  end
  buckets = table.concat(texts, ' ')
end

local admitted = 0
if operation == 'acquire' then
  if phase == OPEN and now >= open_until then enter(HALF_OPEN, 'recovery') end
  if phase == HALF_OPEN then
    for name, stop in pairs(probes) do
      if stop <= now then
        probes[name] = nil
        probe_count = probe_count - 1
      end
    end
    if probe_count + succeeded < most_probes then
      probes[ARGV[12]] = now + lease_us
      probe_count = probe_count + 1
      admitted = 2
    end
    changed = true
  elseif phase ~= OPEN and phase ~= FORCED_OPEN then
    admitted = 1
  end
elseif operation == 'probed' then
  local stop = probes[ARGV[12]]
  if phase == HALF_OPEN and tonumber(ARGV[13]) == generation and stop then
    probes[ARGV[12]] = nil
    probe_count = probe_count - 1
    changed = true
    if stop > now then
      admitted = 1
      local told = tonumber(ARGV[14])
      if told == 0 then
        open('probe failed')
      elseif told > 0 then
        succeeded = succeeded + 1
        if succeeded >= successes then enter(CLOSED, 'probes succeeded') end
      end
    end
  end
elseif operation == 'record' then
  if (phase == CLOSED or phase == METRICS_ONLY) and tonumber(ARGV[12]) == generation then
    local good, slow, failed = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
    local both = tonumber(ARGV[16])
    if window_us > 0 then
      count_by_time(good + slow + failed + both, failed + both, slow + both)
    else
      calls = calls .. string.rep('.', good) .. string.rep('s', slow) .. string.rep('f', failed) .. string.rep('x', both)
      calls = string.sub(calls, -window_calls)
    end
    admitted, changed = 1, true
    local reason = verdict()
    if phase == CLOSED and reason then open(reason) end
  end
elseif operation == 'force' then
  enter(tonumber(ARGV[12]), ARGV[13] or 'by hand')
  admitted = 1
end

local wait_ms = 0
if phase == OPEN then
  wait_ms = math.max(0, math.ceil((open_until - now) / 1000))
elseif phase == HALF_OPEN and probe_count > 0 then
  local first
  for _, stop in pairs(probes) do
    if not first or stop < first then first = stop end
  end
  wait_ms = math.max(0, math.ceil((first - now) / 1000))
end

if changed then
  local texts = {}
  for name, stop in pairs(probes) do texts[#texts + 1] = name .. ' ' .. digits(stop) end
  redis.call('HSET', key, 'phase', phase, 'generation', digits(generation), 'until', digits(open_until),
    'succeeded', succeeded, 'calls', calls, 'buckets', buckets, 'probes', table.concat(texts, ' '), 'history', history)
  local keep_ms = math.max(KEEP_MS, math.floor(4 * math.max(recovery_us, window_us) / 1000))
  redis.call('PEXPIRE', key, digits(phase >= FORCED_OPEN and KEEP_FORCED_MS or keep_ms))
end

local reply = {admitted, phase, generation, wait_ms}
if operation == 'inspect' then
  local all, failures, slow = totals()
  local on_their_way = 0
  for _, stop in pairs(probes) do if stop > now then on_their_way = on_their_way + 1 end end
  for _, one in ipairs({all, failures, slow, on_their_way, succeeded, now, history}) do reply[#reply + 1] = one end
end
return reply
