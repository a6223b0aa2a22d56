"""Lua halves of steps, run in a real Redis at an instant of the test's choice."""

from collections.abc import Sequence

import redis

from collectors_dagster.clock import ManualClock
from collectors_dagster.integrations.redis.script import SCRIPTS
from collectors_dagster.patterns.shared_state import Argument, Step

START_US = 1_790_000_000_123_457


NOTE_EXPIRY = "local function note_expiry(key, ms) redis.call('SET', key .. '!expiry', ms) end\n"


class TimedRedis:
    """Runs the Lua half of steps at an instant of our choice; keys never end, but for how long they would is noted."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key

    def run(self, step: Step, now: int, arguments: Sequence[Argument]) -> list[object]:
        lua = (SCRIPTS / f"{step.name}.lua").read_text()
        lua = lua.replace("redis.call('TIME')", f"{{{now // 10**6}, {now % 10**6}}}")
        lua = NOTE_EXPIRY + lua.replace("redis.call('PEXPIRE',", "note_expiry(")
        keys = [self._name(part) for part in step.parts]
        answer: list[object] = self._client.eval(lua, len(keys), *keys, *arguments)
        return answer

    def kept_ms(self, part: str = "") -> int:
        """Return for how many milliseconds the last step that said so keeps a key."""
        noted = self._client.get(f"{self._name(part)}!expiry")
        assert isinstance(noted, bytes), f"no step has said how long {part!r} is kept"
        return int(noted)

    def _name(self, part: str) -> str:
        return f"{{{self._key}}}{part}"


class Wall(ManualClock):
    """A clock whose monotonic seconds are as large as those of a real store."""

    def __init__(self) -> None:
        super().__init__()
        self.micros = START_US

    def monotonic(self) -> float:
        return (self.micros + 0.5) / 1e6
