"""Faults are really on the wire: what a plain socket sees of each."""

import gzip
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from collectors_dagster.clock import ManualClock, SystemClock
from collectors_dagster.sandbox import Fault, PlaylistChange, RateLimit, SandboxOptions, WorldOptions
from tests.support.spotify import SpotifySandbox, running_spotify_sandbox

OPTIONS = SandboxOptions(limit=None, world=WorldOptions(artists=20, large_playlist_items=160))
PATIENCE_SECONDS = 10.0


@pytest.fixture
def sandbox(manual_clock: ManualClock) -> Iterator[SpotifySandbox]:
    with running_spotify_sandbox(OPTIONS, manual_clock) as running:
        yield running


@dataclass(frozen=True)
class Seen:
    """What came over the wire until the other side ended it."""

    head: str
    body: bytes
    ending: str

    @property
    def status(self) -> int:
        return int(self.head.split(" ", 2)[1])

    def header(self, name: str) -> str | None:
        found = [line.partition(": ")[2] for line in self.head.split("\r\n") if line.lower().startswith(f"{name}: ")]
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Wire:
    """Speaks to the sandbox with nothing but a socket."""

    sandbox: SpotifySandbox
    token: str

    def open(self, path: str, *headers: str) -> socket.socket:
        host, _, port = self.sandbox.url.removeprefix("http://").partition(":")
        connection = socket.create_connection((host, int(port)), PATIENCE_SECONDS)
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {self.token}", *headers]
        connection.sendall(("\r\n".join([*lines, "", ""])).encode())
        return connection

    def ask(self, path: str, *headers: str) -> Seen:
        content, ending = b"", "closed"
        with closing(self.open(path, "Connection: close", *headers)) as connection:
            try:
                while part := connection.recv(65_536):
                    content += part
            except ConnectionResetError:
                ending = "reset"
        head, _, body = content.partition(b"\r\n\r\n")
        return Seen(head.decode(), body, ending)


@pytest.fixture
def wire(sandbox: SpotifySandbox) -> Wire:
    return Wire(sandbox, sandbox.token(sandbox.users[0]))


PATH = "/v1/me/tracks?limit=10"


def test_a_whole_answer_is_whole(wire: Wire) -> None:
    seen = wire.ask(PATH)
    assert (seen.status, seen.ending, len(seen.body)) == (200, "closed", int(seen.header("content-length") or 0))
    assert len(seen.json()["items"]) == 10


def test_a_reset_comes_before_any_byte(wire: Wire) -> None:
    wire.sandbox.fault(Fault("reset"))
    assert wire.ask(PATH) == Seen("", b"", "reset")
    assert wire.ask(PATH).status == 200


def test_a_reset_midway_comes_after_half_of_the_body(wire: Wire) -> None:
    whole = wire.ask(PATH).body
    wire.sandbox.fault(Fault("reset_midway"))
    seen = wire.ask(PATH)
    assert (seen.status, seen.ending, seen.body) == (200, "reset", whole[: len(whole) // 2])


def test_a_short_body_breaks_its_own_content_length(wire: Wire) -> None:
    whole = wire.ask(PATH).body
    wire.sandbox.fault(Fault("short_body"))
    seen = wire.ask(PATH)
    assert (seen.status, seen.ending, seen.body) == (200, "closed", whole[: len(whole) // 2])
    assert seen.header("content-length") == str(len(whole))


def test_truncated_json_keeps_its_content_length(wire: Wire) -> None:
    wire.sandbox.fault(Fault("truncated_json"))
    seen = wire.ask(PATH)
    assert seen.header("content-length") == str(len(seen.body))
    with pytest.raises(json.JSONDecodeError):
        seen.json()


@pytest.mark.parametrize(
    ("kind", "content_type", "starts"),
    [
        ("empty", "application/json", b""),
        ("html", "text/html", b"<!DOCTYPE"),
        ("not_an_object", "application/json", b"[{"),
    ],
)
def test_a_200_may_be_no_json_object(wire: Wire, kind: str, content_type: str, starts: bytes) -> None:
    wire.sandbox.fault(Fault(kind))  # type: ignore[arg-type]  # the kinds are those of the parameters above
    seen = wire.ask(PATH)
    assert seen.status == 200
    assert (seen.header("content-type") or "").startswith(content_type)
    assert seen.body.startswith(starts)
    assert len(seen.body) > 0 or kind == "empty"


def test_json_that_is_no_utf8(wire: Wire) -> None:
    wire.sandbox.fault(Fault("bad_utf8"))
    with pytest.raises(UnicodeDecodeError):
        wire.ask(PATH).body.decode()


def test_a_hanging_answer_ends_when_the_client_gives_up(wire: Wire) -> None:
    wire.sandbox.fault(Fault("hang"), Fault("hang_midway"))
    for expected in (b"", b"HTTP/1.1 200"):
        with closing(wire.open(PATH)) as connection:
            if expected:
                assert connection.recv(len(expected), socket.MSG_WAITALL) == expected
            else:
                connection.setblocking(False)  # noqa: FBT003  # the library's own argument
                with pytest.raises(BlockingIOError):
                    connection.recv(1)
    assert wire.ask(PATH).status == 200


def test_a_slow_body_arrives_in_small_parts(wire: Wire) -> None:
    wire.sandbox.fault(Fault("drip", bytes_per_second=20_000))
    whole = int(wire.ask("/v1/me").header("content-length") or 0)
    wire.sandbox.clear_faults()
    wire.sandbox.fault(Fault("drip", bytes_per_second=4000))
    parts = 0
    with closing(wire.open("/v1/me", "Connection: close")) as connection:
        content = b""
        while part := connection.recv(65_536):
            content += part
            parts += 1
    body = content.partition(b"\r\n\r\n")[2]
    assert len(body) == whole
    assert parts >= 3


@pytest.mark.parametrize(
    "value", [None, "soon", "-5", "999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "0", "1.5", ""], ids=str
)
def test_retry_after_may_say_anything(wire: Wire, value: str | None) -> None:
    wire.sandbox.fault(Fault("retry_after", retry_after=value))
    seen = wire.ask(PATH)
    assert (seen.status, seen.header("retry-after")) == (429, value)
    assert wire.ask(PATH).status == 200


def test_a_429_may_be_plain_text(wire: Wire) -> None:
    wire.sandbox.fault(Fault("text_429", retry_after="3"))
    seen = wire.ask(PATH)
    assert (seen.status, seen.body, seen.header("retry-after")) == (429, b"Too many requests", "3")


def test_a_closed_endpoint_answers_429_from_the_first_request_on_and_the_others_do_not(wire: Wire) -> None:
    wire.sandbox.fault(Fault("closed", path="/v1/browse/*", times=None))
    assert [wire.ask("/v1/browse/new-releases").status for _ in range(3)] == [429] * 3
    assert wire.ask(PATH).status == 200
    assert wire.sandbox.counts().during_retry_after == 0


def test_a_quota_fault_bans_for_hours_with_its_reason(wire: Wire, manual_clock: ManualClock) -> None:
    wire.sandbox.fault(Fault("quota", hours=0.5))
    seen = wire.ask(PATH)
    assert (seen.status, seen.header("retry-after")) == (429, "1800")
    assert seen.json()["error"]["reason"] == "QUOTA_EXCEEDED"
    manual_clock.move(1799)
    assert wire.ask(PATH).status == 429
    manual_clock.move(1)
    assert wire.ask(PATH).status == 200


def test_an_expired_token_stays_expired(wire: Wire) -> None:
    wire.sandbox.fault(Fault("expired"))
    for _ in range(2):
        seen = wire.ask(PATH)
        assert (seen.status, seen.json()["error"]["message"]) == (401, "The access token expired")
    assert Wire(wire.sandbox, wire.sandbox.token(wire.sandbox.users[0])).ask(PATH).status == 200


def test_nulls_take_the_place_of_items(wire: Wire) -> None:
    whole = wire.ask(PATH).json()["items"]
    wire.sandbox.fault(Fault("nulls", count=3))
    assert wire.ask(PATH).json()["items"] == [None] * 3 + whole[3:]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("foreign", "http://foreign.invalid/v1/me/tracks?offset=0&limit=50"),
        ("self", "{url}/v1/me/tracks?limit=10&offset=0"),
        ("http", "http://127.0.0.1:1/v1/me/tracks?offset=50&limit=50"),
        ("back", "{url}/v1/me/tracks?offset=0&limit=50"),
        ("elsewhere", "{url}/v1/me"),
        ("https://example.invalid/", "https://example.invalid/"),
    ],
)
def test_next_may_point_anywhere(wire: Wire, value: str, expected: str) -> None:
    wire.sandbox.fault(Fault("next", value=value))
    found = httpx.URL(wire.ask(PATH).json()["next"])
    wanted = httpx.URL(expected.format(url=wire.sandbox.url))
    assert (found.scheme, found.host, found.port, found.path) == (wanted.scheme, wanted.host, wanted.port, wanted.path)
    assert dict(found.params) == dict(wanted.params)


def test_next_of_a_page_within_an_answer_is_bent_too(wire: Wire) -> None:
    wire.sandbox.fault(Fault("next"))
    assert wire.ask("/v1/me/following?type=artist").json()["artists"]["next"].startswith("http://foreign.invalid/")


def test_a_redirect_names_its_target(wire: Wire) -> None:
    wire.sandbox.fault(Fault("redirect", value="https://elsewhere.invalid/x"))
    seen = wire.ask(PATH)
    assert (seen.status, seen.header("location")) == (302, "https://elsewhere.invalid/x")


def test_any_part_of_an_answer_can_be_edited(wire: Wire) -> None:
    wire.sandbox.fault(Fault("edit", edits={"/items/0/track": None, "/total": None, "/surprise": {"deep": 1}}))
    found = wire.ask(PATH).json()
    assert (found["items"][0]["track"], found["total"], found["surprise"]) == (None, None, {"deep": 1})


def test_a_status_comes_with_its_body_and_headers(wire: Wire) -> None:
    wire.sandbox.fault(Fault("status", status=502, body="<h1>Bad gateway</h1>", headers={"Content-Type": "text/html"}))
    seen = wire.ask(PATH)
    assert (seen.status, seen.body, seen.header("content-type")) == (502, b"<h1>Bad gateway</h1>", "text/html")


def test_a_list_changes_while_it_is_paged(wire: Wire) -> None:
    playlist = wire.sandbox.large_playlist_id
    path = f"/v1/playlists/{playlist}/items?limit=50&offset="

    def page(offset: int) -> list[str]:
        return [each["item"]["id"] for each in wire.ask(f"{path}{offset}").json()["items"]]

    before = page(0) + page(50)
    snapshot = wire.ask(f"/v1/playlists/{playlist}?fields=snapshot_id").json()
    change = PlaylistChange(playlist, remove=[0])
    wire.sandbox.fault(Fault("change", path=f"/v1/playlists/{playlist}/items", after=1, change=change))
    assert page(0) == before[:50]  # the first passes
    assert page(0) == before[:50]  # the change is made once this one is made
    assert page(50)[:49] == before[51:]
    assert wire.ask(f"/v1/playlists/{playlist}?fields=snapshot_id").json() != snapshot


def test_faults_strike_after_some_requests_as_often_as_they_are_told(wire: Wire) -> None:
    wire.sandbox.fault(Fault("status", after=1, times=2), Fault("status", status=500, path="/v1/artists/*"))
    assert [wire.ask(PATH).status for _ in range(4)] == [200, 503, 503, 200]


def test_the_same_seed_throws_the_same_dice(manual_clock: ManualClock) -> None:
    def statuses() -> list[int]:
        with running_spotify_sandbox(OPTIONS, manual_clock) as running:
            running.fault(Fault("status", times=None, probability=0.5))
            wire = Wire(running, running.token(running.users[0]))
            return [wire.ask("/v1/me").status for _ in range(20)]

    first = statuses()
    assert set(first) == {200, 503}
    assert statuses() == first


def test_the_accounts_service_has_faults_of_its_own(sandbox: SpotifySandbox) -> None:
    sandbox.fault(Fault("status", path="/api/token"), Fault("truncated_json", path="/api/token"))
    form = {"grant_type": "client_credentials"}
    basic = (sandbox.app.client_id, sandbox.app.client_secret)
    replies = [httpx.post(f"{sandbox.url}/api/token", data=form, auth=basic, verify=False) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [503, 200, 200]
    assert len(replies[1].content) < len(replies[2].content) // 2 + 2
    assert replies[2].json()["token_type"] == "Bearer"


def test_a_packed_answer_is_packed_and_a_short_one_of_it_is_short(wire: Wire) -> None:
    plain = wire.ask(PATH).body
    packed = wire.ask(PATH, "Accept-Encoding: gzip")
    assert packed.header("content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain
    wire.sandbox.fault(Fault("short_body"))
    with pytest.raises(EOFError):
        gzip.decompress(wire.ask(PATH, "Accept-Encoding: gzip").body)


def test_requests_sent_without_waiting_are_answered_in_turn(wire: Wire) -> None:
    with closing(wire.open("/v1/me")) as connection:
        connection.sendall(
            f"GET /v1/me/albums?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {wire.token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        content = b""
        while part := connection.recv(65_536):
            content += part
    assert content.count(b"HTTP/1.1 200") == 2
    assert content.index(b"display_name") < content.index(b"added_at")


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\n\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_nonsense_ends_its_own_connection_only(wire: Wire, nonsense: bytes) -> None:
    host, _, port = wire.sandbox.url.removeprefix("http://").partition(":")
    with closing(socket.create_connection((host, int(port)), PATIENCE_SECONDS)) as connection:
        connection.sendall(nonsense)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # the same, said harder: what was sent after the nonsense was not read
            assert connection.recv(100) == b""
    assert wire.ask(PATH).status == 200


def test_a_client_that_resets_harms_nobody(wire: Wire) -> None:
    for _ in range(3):
        connection = wire.open(PATH)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert wire.ask(PATH).status == 200


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="there is no fault 'fire'; there are status, reset"):
        Fault("fire")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="needs a `change`"):
        Fault("change")


def test_who_asks_during_a_pause_is_counted_and_who_could_not_know_is_told_apart() -> None:
    options = SandboxOptions(limit=RateLimit(2, 30.0), in_flight_seconds=0.0, world=WorldOptions(artists=5))
    clock = ManualClock()
    with running_spotify_sandbox(options, clock) as sandbox:
        wire = Wire(sandbox, sandbox.token(sandbox.users[0]))
        statuses = [wire.ask("/v1/me").status for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        counts = sandbox.counts()
        assert (counts.during_retry_after, counts.in_flight) == (1, 0)
        assert [record.during_retry_after for record in sandbox.requests()] == [False, False, False, True]
        clock.move(30)
        assert wire.ask("/v1/me").status == 200
        assert sandbox.counts().during_retry_after == 1
    with running_spotify_sandbox(
        SandboxOptions(limit=RateLimit(1, 30.0), in_flight_seconds=60.0), SystemClock()
    ) as sandbox:
        wire = Wire(sandbox, sandbox.token(sandbox.users[0]))
        assert [wire.ask("/v1/me").status for _ in range(3)] == [200, 429, 429]
        assert (sandbox.counts().during_retry_after, sandbox.counts().in_flight) == (0, 1)
