"""How a client behaves; :func:`client_options` takes it from the settings."""

from dataclasses import dataclass, field

from collectors_dagster.config.sections import Spotify
from collectors_dagster.patterns.window_limiter import WindowPolicy

API_URL = "https://api.spotify.com/v1"
WINDOW_SECONDS = 30.0
"""Of Spotify's rolling rate limit; the number of requests in it is not published."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What may be chosen.

    Attributes
    ----------
    window : WindowPolicy
        The rate limit of the developer account.
    in_flight : int
        Requests under way at once.
    connect_seconds, read_seconds, attempt_seconds : float
        Time to connect, between two pieces of an answer, and for one attempt in all.
    attempts : int
        Of one request, the first included.
    deadline_seconds : float
        No repetition begins later than this after the first attempt.
    circuit_failures, circuit_seconds : int, float
        Failures among the last ten attempts at a family of endpoints that open its circuit, and for how long.
    keep_seconds : float
        How long an answer stays in the cache after its time, to be asked about by its ETag.
    largest_body : int
        Bytes; a longer answer is refused.
    """

    api_url: str = API_URL
    window: WindowPolicy = field(default_factory=lambda: WindowPolicy(WINDOW_SECONDS))
    in_flight: int = 8
    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    attempt_seconds: float = 60.0
    attempts: int = 5
    base_seconds: float = 0.5
    cap_seconds: float = 30.0
    deadline_seconds: float = 300.0
    circuit_failures: int = 5
    circuit_seconds: float = 10.0
    keep_seconds: float = 7 * 86_400.0
    largest_body: int = 16 * 1024 * 1024


def client_options(settings: Spotify, *, api_url: str) -> ClientOptions:
    """Return what the section ``spotify`` of the settings asks for."""
    window = WindowPolicy(settings.rate_window_seconds, settings.rate_limit, settings.rate_guess)
    return ClientOptions(api_url=api_url.rstrip("/"), window=window, in_flight=settings.in_flight)
