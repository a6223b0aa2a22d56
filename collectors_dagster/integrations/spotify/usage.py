"""What a client has cost and saved."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Usage:
    """Counted since the client was made.

    Attributes
    ----------
    requests : int
        Sent, repetitions included.
    not_modified : int
        Answers 304: nothing had changed.
    cache_hits : int
        Answers that were still valid, so that nothing was sent.
    rate_limited : int
        Answers 429.
    bans : int
        Pauses that Spotify asked for and this client was told of first.
    retries : int
        Requests sent again after a failure.
    waited_seconds : float
        In which requests stood in line for the rate limit.
    """

    requests: int = 0
    not_modified: int = 0
    cache_hits: int = 0
    rate_limited: int = 0
    bans: int = 0
    retries: int = 0
    waited_seconds: float = 0.0

    def as_dict(self) -> dict[str, int | float]:
        """Return the figures by name."""
        return asdict(self)
