"""The sandbox itself: who asks, whether they may, what goes wrong, and what they get."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from collectors_dagster.clock import Clock, SystemClock
from collectors_dagster.sandbox.accounts import SCOPES, AccessToken, Accounts, TokenReply
from collectors_dagster.sandbox.accounts_service import AccountsService
from collectors_dagster.sandbox.call import ApiError, Call, Everything, Route
from collectors_dagster.sandbox.counts import Counts, Ledger, Pauses, RequestRecord
from collectors_dagster.sandbox.drifting import Change, Entry
from collectors_dagster.sandbox.endpoints import ROUTES
from collectors_dagster.sandbox.faults import Fault, FaultPlan, PlaylistChange
from collectors_dagster.sandbox.http import Answer, Request, compressed, json_answer, text_answer, written_answer
from collectors_dagster.sandbox.limiter import QUOTA_EXCEEDED, RATE, AccountLimiter, Refusal
from collectors_dagster.sandbox.listeners import Listener, Listeners, Play
from collectors_dagster.sandbox.options import Mode, Quota, RateLimit, SandboxApp, SandboxOptions
from collectors_dagster.sandbox.playlists import Playlist, Playlists
from collectors_dagster.sandbox.rendering import written
from collectors_dagster.sandbox.shifted_clock import ShiftedClock
from collectors_dagster.sandbox.spoiling import edited, redirected, spoiled
from collectors_dagster.sandbox.world import World

LABEL = {"x-spotify-sandbox": "1"}
"""Every answer says where it comes from."""

_SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><rect width="1" height="1" fill="#{colour}"/></svg>'
)

_IN_PLACE_OF_AN_ANSWER = {"retry_after", "text_429", "closed", "quota", "status", "redirect"}


@dataclass(slots=True)
class _Visit:
    """What becomes known of a request while it is answered."""

    at: float
    arrived: float
    route: str = ""
    account: str = ""
    client_id: str = ""
    user: str = ""
    token: str = ""
    fault: str = ""
    during_retry_after: bool = False
    in_flight: bool = False


class Sandbox:
    """Answers requests. One thread, or event loop, uses it.

    Attributes
    ----------
    base_url : str
        Where it listens, without a slash at the end; every address in an answer lies below it.
    """

    def __init__(self, options: SandboxOptions, clock: Clock, base_url: str = "") -> None:
        self.options = options
        self.clock = ShiftedClock(clock)
        self.base_url = base_url
        world = World(options.seed, options.world)
        listeners = Listeners(world)
        self.everything = Everything(world, listeners, Playlists(world, listeners))
        self.accounts = Accounts(options, self.clock)
        self.faults = FaultPlan(options.seed)
        self._ledger = Ledger()
        self._pauses = Pauses(options.in_flight_seconds)
        self._limiters = {app.account: AccountLimiter(options.limit, options.quota) for app in options.apps}
        self._service = AccountsService(self.accounts, listeners)
        self._machine = SystemClock()

    async def respond(self, request: Request) -> Answer:
        """Answer a request, and count it."""
        visit = _Visit(self.clock.monotonic(), self._machine.monotonic())
        answer = self._answer(request, visit)
        answer.headers |= LABEL
        self._note(request, visit, answer)
        if self.options.latency_seconds:
            await asyncio.sleep(self.options.latency_seconds)
        return answer

    def _answer(self, request: Request, visit: _Visit) -> Answer:
        if request.path.startswith("/v1/"):
            return self._web_api(request, visit)
        visit.route = f"{request.method} {request.path}"
        if request.path not in {"/authorize", "/api/token"}:
            return _beside(request, visit)
        fault = self._struck(request, visit)
        if fault is not None and fault.kind in _IN_PLACE_OF_AN_ANSWER:
            return self._in_place(fault, request, visit)
        answer = self._service.token(request) if request.path == "/api/token" else self._service.authorize(request)
        return answer if fault is None else spoiled(fault, answer)

    # --- the Web API -----------------------------------------------------------------------------------------------

    def _web_api(self, request: Request, visit: _Visit) -> Answer:
        route, parts = _route(request.path)
        visit.route = f"{request.method} {route.pattern if route else 'unknown'}"
        try:
            token = self._token(request, visit)
            refusal = self._limiters[visit.account].ask(visit.at)
            if refusal is not None:
                return self._refused(refusal, visit)
            fault = self._struck(request, visit)
            if fault is not None and fault.kind == "expired":
                self.accounts.expire(_bearer(request))
                raise _EXPIRED
            if fault is not None and fault.kind in _IN_PLACE_OF_AN_ANSWER:
                return self._in_place(fault, request, visit)
            return self._endpoint(request, self._call(request, route, parts, token), route, fault)
        except ApiError as error:
            return json_answer(error.as_json(), error.status)

    def _token(self, request: Request, visit: _Visit) -> AccessToken:
        """Return what the request's token stands for; note whose it is, and whether they were told to wait."""
        text = _bearer(request)
        token = self.accounts.token(text)
        if token is None:
            raise ApiError(401, "Invalid access token")
        visit.client_id, visit.user = token.client_id, token.user_id or ""
        visit.account = self.accounts.app(token.client_id).account
        visit.token = blake2b(text.encode(), digest_size=6).hexdigest()
        visit.during_retry_after, visit.in_flight = self._pauses.judge(visit.account, visit.at, visit.arrived)
        if not self.accounts.is_valid(token):
            raise _EXPIRED
        return token

    def _call(self, request: Request, route: Route | None, parts: dict[str, str], token: AccessToken) -> Call:
        """Check that this caller may ask for this, and return all that the endpoint needs."""
        if request.method not in {"GET", "HEAD"}:
            raise ApiError(405, "Method not allowed: the sandbox only reads")
        if route is None:
            raise ApiError(404, "Service not found")
        mode = self._mode(self.accounts.app(token.client_id))
        user = self.everything.listeners.of(token.user_id) if token.user_id else None
        if mode == "development":
            self._check_development(route, user)
        if route.needs_user and user is None:
            raise ApiError(401, "Valid user authentication required")
        if not set(route.scopes) <= token.scopes:
            raise ApiError(403, "Insufficient client scope")
        return Call(request, parts, token, user, mode, self.clock.now(), self.base_url, self.everything)

    def _check_development(self, route: Route, user: Listener | None) -> None:
        if user is not None and not user.is_allowed:
            raise ApiError(403, "User not registered in the Developer Dashboard")
        if not route.in_development:
            raise ApiError(403, "Forbidden")

    def _endpoint(self, request: Request, call: Call, route: Route | None, fault: Fault | None) -> Answer:
        assert route is not None
        if fault is not None and fault.kind == "change_before" and fault.change is not None:
            self.change_playlist(fault.change)
        content = route.answer(call)
        if fault is not None:
            content = edited(fault, content, self.base_url, request.path)
        answer = self._conditional(request, written_answer(written(content)), route)
        if answer.status == 200:
            answer = self._spoiled(fault, answer, request)
        if fault is not None and fault.kind == "change" and fault.change is not None:
            self.change_playlist(fault.change)
        return answer

    def _spoiled(self, fault: Fault | None, answer: Answer, request: Request) -> Answer:
        """Return what is sent; a fault of the content comes before packing, one of the sending after it."""
        if fault is not None:
            answer = spoiled(fault, answer)
        return compressed(answer, request) if self.options.compress else answer

    def _conditional(self, request: Request, answer: Answer, route: Route) -> Answer:
        """Add a validator and a life; leave the body out for who has it already (RFC 9110, section 13)."""
        tag = f'"{blake2b(answer.body, digest_size=16).hexdigest()}"'
        whose = "public" if route.kept_as == "catalogue" else "private"
        kept = {
            "etag": tag,
            "cache-control": f"{whose}, max-age={self.options.max_age_seconds[route.kept_as]}",
            "vary": "Authorization, Accept-Encoding",
        }
        known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if tag in known:
            return Answer(304, b"", kept)
        answer.headers |= kept
        return answer

    def _mode(self, app: SandboxApp) -> Mode:
        return app.mode or self.options.mode

    # --- refusals and faults ---------------------------------------------------------------------------------------

    def _struck(self, request: Request, visit: _Visit) -> Fault | None:
        fault = self.faults.strike(request.path)
        visit.fault = fault.kind if fault else ""
        return fault

    def _in_place(self, fault: Fault, request: Request, visit: _Visit) -> Answer:
        """Return what a fault puts in the place of the endpoint's answer."""
        if fault.kind == "redirect":
            return redirected(fault, self.base_url, request.path)
        if fault.kind == "quota":
            return self._banned(visit, fault.hours * 3600, QUOTA_EXCEEDED)
        if fault.kind == "status":
            answer = json_answer(ApiError(fault.status, "Sandbox fault").as_json(), fault.status)
            answer.body = fault.body.encode() if fault.body else answer.body
            answer.headers |= {name.lower(): value for name, value in fault.headers.items()}
            return answer
        if fault.ban_seconds:
            self._banned(visit, fault.ban_seconds, RATE)
        answer = _too_many(RATE) if fault.kind != "text_429" else text_answer("Too many requests", 429)
        if fault.retry_after is not None:
            answer.headers["retry-after"] = fault.retry_after
            if fault.kind != "closed" and fault.retry_after.isdecimal():
                self._pauses.announce(visit.account, visit.at + int(fault.retry_after), visit.arrived)
        return answer

    def _banned(self, visit: _Visit, seconds: float, reason: str) -> Answer:
        limiter = self._limiters.get(visit.account)
        if limiter is not None:
            limiter.ban(visit.at + seconds, reason)
        return self._refused(Refusal(int(seconds), reason), visit)

    def _refused(self, refusal: Refusal, visit: _Visit) -> Answer:
        seconds = refusal.retry_after_seconds
        self._pauses.announce(visit.account, visit.at + seconds, visit.arrived)
        answer = _too_many(refusal.reason)
        answer.headers["retry-after"] = str(seconds)
        return answer

    def _note(self, request: Request, visit: _Visit, answer: Answer) -> None:
        wire = answer.wire
        silent = wire.ending in {"reset", "hang"} and wire.share >= 1
        self._ledger.note(
            RequestRecord(
                at=visit.at,
                arrived=visit.arrived,
                route=visit.route,
                path=request.path,
                query=request.raw_query if request.path.startswith("/v1/") else "",
                account=visit.account,
                client_id=visit.client_id,
                user=visit.user,
                token=visit.token,
                status=0 if silent else answer.status,
                fault=visit.fault,
                during_retry_after=visit.during_retry_after,
                in_flight=visit.in_flight,
            )
        )

    # --- what tests and the control endpoint ask for ---------------------------------------------------------------

    def counts(self) -> Counts:
        """Return what was asked since the last reset."""
        self._ledger.rotated_reuse = self.accounts.rotated_reuse
        return self._ledger.counts()

    def requests(self) -> list[RequestRecord]:
        """Return the requests since the last reset, the earliest first."""
        return list(self._ledger.records)

    def reset_counts(self) -> None:
        """Count from zero; limits, bans and faults stay."""
        self._ledger = Ledger()
        self.accounts.rotated_reuse = 0

    def arm(self, *faults: Fault) -> None:
        """Let faults wait for their requests.

        Raises
        ------
        ValueError
            If a change names a playlist or a track that does not exist; then none of them waits.
        """
        for fault in faults:
            if fault.change is not None:
                self._playlist(fault.change.playlist)
                for track in fault.change.add:
                    self._track(track)
        for fault in faults:
            self.faults.arm(fault)

    def set_limit(self, limit: RateLimit | None) -> None:
        """Give every account another limit; what was asked before is forgotten, bans too."""
        self._replace_limiters(limit, next(iter(self._limiters.values())).quota)

    def set_quota(self, quota: Quota | None) -> None:
        """Give every account another quota; what was asked before is forgotten, bans too."""
        self._replace_limiters(next(iter(self._limiters.values())).limit, quota)

    def ban(self, account: str, seconds: float, reason: str = RATE) -> None:
        """Ban an account from now on; it learns of it with its next request."""
        self._limiters[account].ban(self.clock.monotonic() + seconds, reason)

    def change_playlist(self, change: PlaylistChange) -> str:
        """Change a playlist now; return its new snapshot."""
        playlist = self._playlist(change.playlist)
        now = self.clock.now()
        playlist.items.at(now)
        entries = [Entry(self._track(each), now, "track", playlist.owner.index) for each in change.add]
        added = tuple((change.at + place, entry) for place, entry in enumerate(entries))
        move = (change.move[0], change.move[1]) if change.move is not None else None
        playlist.items.change(Change(now, tuple(change.remove), move, added))
        return playlist.items.snapshot_id

    def add_play(self, user_id: str, track_id: str = "", played_at: datetime | None = None) -> None:
        """Let a user have played a track, now or at another time."""
        listeners = self.everything.listeners
        at = played_at or self.clock.now()
        track = self._track(track_id) if track_id else self.everything.world.any_track("by hand", at)
        listeners.add_play(self._user(user_id), Play(track, at))

    def token(self, user_id: str | None, scopes: Sequence[str] | None = None, client_id: str = "") -> str:
        """Return an access token without the dance; without a user, an application's own."""
        if user_id is None:
            return self.accounts.issue(self._client(client_id), None, ())
        return self.accounts.issue(
            self._client(client_id), self._user(user_id).id, SCOPES if scopes is None else scopes
        )

    def grant(
        self, user_id: str, scopes: Sequence[str] | None = None, client_id: str = "", *, pkce: bool = True
    ) -> TokenReply:
        """Return the tokens of a consent without the dance."""
        granted = SCOPES if scopes is None else scopes
        return self.accounts.grant(self._client(client_id), self._user(user_id).id, granted, rotates=pkce)

    def _client(self, client_id: str) -> str:
        return self.accounts.app(client_id or self.options.apps[0].client_id).client_id

    def _user(self, user_id: str) -> Listener:
        found = self.everything.listeners.of(user_id)
        if found is None:
            raise ValueError(f"there is no user {user_id!r}")
        return found

    def _playlist(self, identifier: str) -> Playlist:
        found = self.everything.playlists.of(identifier)
        if found is None:
            raise ValueError(f"there is no playlist {identifier!r}")
        return found

    def _track(self, track_id: str) -> int:
        found = self.everything.world.track_of(track_id, self.clock.now().date())
        if found is None:
            raise ValueError(f"there is no track {track_id!r}")
        return found.index

    def _replace_limiters(self, limit: RateLimit | None, quota: Quota | None) -> None:
        self._limiters = {account: AccountLimiter(limit, quota) for account in self._limiters}
        self._pauses.clear()


_EXPIRED = ApiError(401, "The access token expired")


def _bearer(request: Request) -> str:
    given = request.headers.get("authorization", "")
    scheme, _, token = given.partition(" ")
    if not given:
        raise ApiError(401, "No token provided")
    if scheme.lower() != "bearer" or not token:
        raise ApiError(400, "Only valid bearer authentication supported")
    return token


def _route(path: str) -> tuple[Route | None, dict[str, str]]:
    for route in ROUTES:
        parts = route.match(path)
        if parts is not None:
            return route, parts
    return None, {}


def _too_many(reason: str) -> Answer:
    said = reason if reason == QUOTA_EXCEEDED else ""
    message = "Quota exceeded" if said else "API rate limit exceeded"
    return json_answer(ApiError(429, message, said).as_json(), 429)


def _beside(request: Request, visit: _Visit) -> Answer:
    """Return what the addresses in answers show: pictures and pages that say what this is."""
    first = request.path.split("/")[1]
    visit.route = f"{request.method} /{first}"
    if first == "images":
        colour = blake2b(request.path.rpartition("/")[0].encode(), digest_size=3).hexdigest()
        return text_answer(_SQUARE.format(colour=colour), 200, "image/svg+xml")
    if first in {"", "open"}:
        return text_answer("This is the local Spotify sandbox of collectors_dagster: everything in it is invented.\n")
    return text_answer("Not found\n", 404)
