"""The ledger's Redis scripts: each changes one wait at once, by Redis' own clock.

`KEYS` are the sorted set of all waits by the time (ms) from which they are overdue, the hash of one wait, and its mark
that it is over. The fields of the hash: `message` as it was sent first; `turn`, the number of the next poll; `kwargs`,
the keywords of its message; `holder` and `until`, who polls now and how long nobody else may; `revivals` and `backlog`,
how often a sweep sent the wait again, or left it to the queue, since the last poll.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due, wait, over = KEYS[1], KEYS[2], KEYS[3]
local mark = ARGV[1]
"""

# ARGV: mark, message, turn, ms until it is overdue
ENTER: Final = f"""{_NOW}
if redis.call('EXISTS', over, wait) > 0 then return 0 end
redis.call('HSET', wait, 'message', ARGV[2], 'turn', ARGV[3], 'holder', '', 'until', 0)
redis.call('ZADD', due, now + ARGV[4], mark)
return 1
"""

# ARGV: mark, turn, kwargs, holder, ms that it may hold the wait
CLAIM: Final = f"""{_NOW}
if redis.call('EXISTS', over) == 1 then return 'over' end
local stored = redis.call('HMGET', wait, 'turn', 'holder', 'until')
if not stored[1] then return 'unknown' end
local ahead = tonumber(ARGV[2]) - tonumber(stored[1])
if ahead < 0 then return 'old' end
if ahead == 0 and stored[2] ~= '' and stored[2] ~= ARGV[4] and tonumber(stored[3]) > now then return 'held' end
if ahead > 0 then redis.call('HSET', wait, 'turn', ARGV[2], 'kwargs', ARGV[3]) end
redis.call('HSET', wait, 'holder', ARGV[4], 'until', now + ARGV[5], 'polled', 1)
redis.call('ZADD', due, now + ARGV[5], mark)
return 'claimed'
"""

# ARGV: mark, holder, ms that it may hold the wait from now on
CONFIRM: Final = f"""{_NOW}
if redis.call('EXISTS', wait, over) == 0 then return 1 end -- Redis lost its data
if redis.call('HGET', wait, 'holder') ~= ARGV[2] then return 0 end
redis.call('HSET', wait, 'until', now + ARGV[3])
redis.call('ZADD', due, now + ARGV[3], mark)
return 1
"""

# ARGV: mark, holder, next turn, its kwargs, ms until it is overdue
ADVANCE: Final = f"""{_NOW}
if redis.call('EXISTS', wait, over) == 0 then return 1 end -- Redis lost its data
if redis.call('HGET', wait, 'holder') ~= ARGV[2] then return 0 end
redis.call('HSET', wait, 'turn', ARGV[3], 'kwargs', ARGV[4], 'holder', '', 'until', 0)
redis.call('HDEL', wait, 'revivals', 'backlog')
redis.call('ZADD', due, now + ARGV[5], mark)
return 1
"""

# ARGV: mark, holder, turn, ms until it is overdue. The message of this turn is repeated.
UNDO: Final = f"""{_NOW}
local stored = redis.call('HMGET', wait, 'turn', 'holder')
if not stored[1] then return 0 end
local ahead = tonumber(stored[1]) - tonumber(ARGV[3])
if not (ahead == 0 and stored[2] == ARGV[2]) and not (ahead == 1 and stored[2] == '') then return 0 end
redis.call('HSET', wait, 'turn', ARGV[3], 'holder', '', 'until', 0)
redis.call('ZADD', due, now + ARGV[4], mark)
return 1
"""

# ARGV: mark, ms for which copies may still come; 0 if there are none
END: Final = f"""{_NOW}
redis.call('DEL', wait)
redis.call('ZREM', due, mark)
if tonumber(ARGV[2]) > 0 then redis.call('SET', over, 1, 'PX', ARGV[2]) end
return 1
"""

# ARGV: '', how many; so `wait` is the beginning of the key of each wait
OVERDUE: Final = f"""{_NOW}
local found = {{}}
local marks = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #marks, 2 do
  local stored = redis.call('HMGET', wait .. marks[i], 'message', 'turn', 'kwargs', 'polled')
  if stored[1] then
    found[#found + 1] = {{marks[i], marks[i + 1], stored[1], stored[2], stored[3], stored[4]}}
  else
    redis.call('ZREM', due, marks[i])
  end
end
return found
"""

# ARGV: mark, its score as it was seen, the field that counts, ms until it is overdue again, doublings at most
POSTPONE: Final = f"""{_NOW}
if redis.call('ZSCORE', due, mark) ~= ARGV[2] then return 0 end
local times = redis.call('HINCRBY', wait, ARGV[3], 1)
redis.call('ZADD', due, now + ARGV[4] * 2 ^ math.min(times, tonumber(ARGV[5])), mark)
return times
"""
