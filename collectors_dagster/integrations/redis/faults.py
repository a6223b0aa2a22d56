"""What went wrong with Redis, in our words: one error, its kind, and how far it reaches."""

from redis import exceptions

from collectors_dagster.errors import SharedStateUnavailableError
from collectors_dagster.integrations.redis.replies import MalformedReplyError
from collectors_dagster.patterns.shared_state import OUT_OF_TIME

_KINDS: tuple[tuple[type[Exception], str], ...] = (  # the first that fits; subclasses stand before their parents
    (exceptions.AuthenticationError, "authentication"),
    (exceptions.AuthorizationError, "authentication"),
    (exceptions.AuthenticationWrongNumberOfArgsError, "authentication"),
    (exceptions.NoPermissionError, "permission"),
    (exceptions.BusyLoadingError, "loading"),
    (exceptions.ReadOnlyError, "read-only"),
    (exceptions.MasterDownError, "cluster down"),
    (exceptions.ClusterDownError, "cluster down"),
    (exceptions.TryAgainError, "moving"),
    (exceptions.MovedError, "moving"),
    (exceptions.OutOfMemoryError, "out of memory"),
    (exceptions.TimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (exceptions.ConnectionError, "unreachable"),
    (OSError, "unreachable"),
    (MalformedReplyError, "malformed reply"),
    (exceptions.ResponseError, "refused"),
)
_ONE_OBJECT = {"wrong data", "malformed reply", "moving"}


def unavailable(error: Exception, step: str, *, in_a_hurry: bool = False) -> SharedStateUnavailableError:
    """Return our error for any error of a Redis call; it holds nothing that the driver said, hence no secret.

    A time-out of a caller `in_a_hurry` is its own.
    """
    kind = kind_of(error)
    if in_a_hurry and kind == "timeout":
        return out_of_time(step)
    return SharedStateUnavailableError(
        f"the step {step!r} could not be done in Redis: {kind} ({type(error).__name__})",
        kind=kind,
        one_object=kind in _ONE_OBJECT,
    )


def out_of_time(step: str) -> SharedStateUnavailableError:
    """Return the error of a caller whose deadline leaves no time for Redis."""
    return SharedStateUnavailableError(
        f"the step {step!r} could not be done in Redis within the caller's deadline", kind=OUT_OF_TIME
    )


def kind_of(error: Exception) -> str:
    """Return what is wrong in one or two words, of which there are few: they are a label of a metric.

    Examples
    --------
    >>> kind_of(exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    'wrong data'
    >>> kind_of(exceptions.ReadOnlyError("You can't write against a read only replica."))
    'read-only'
    """
    if type(error) is exceptions.ResponseError and _is_of_the_object(str(error)):
        return "wrong data"
    return next((kind for parent, kind in _KINDS if isinstance(error, parent)), "driver")


def _is_of_the_object(message: str) -> bool:
    """Tell whether a script stumbled over what lies at its keys.

    The server's own states (``MISCONF``, ``NOREPLICAS``, ``BUSY``) begin with a word in capitals; a script's error with
    ``user_script:`` or with what a command in it complained of.
    """
    word = message.partition(" ")[0]
    return "WRONGTYPE" in message or not (word.isupper() and len(word) > 2)
