"""Every exception we raise, on one page.

::

    CollectorsError                         root; ``transient`` answers every policy's question
    ├─ ConfigurationError                   a setting or tenant file is wrong
    ├─ StartupError                         the local stack cannot start (port, disk, rights)
    ├─ SecurityError
    │   └─ TenantIsolationError             a tenant's name or data crossed a border
    ├─ CollectionError                      a source could not be read
    │   ├─ SourceUnavailableError *         it is absent or did not answer in time
    │   └─ InvalidSampleError               it answered nonsense
    ├─ SpoolError                           the agent's spool is damaged or full
    ├─ CompressionError                     packed bytes are damaged, or would become too large
    │   └─ UnknownCodecError                they were packed by something that is not known or installed here
    ├─ IntegrationError                     another system failed us (``service``, ``operation``)
    │   ├─ ServiceUnreachableError *
    │   ├─ ServiceTimeoutError *
    │   ├─ ServiceFailedError *             it answered 5xx or the equivalent
    │   ├─ IncompleteResponseError *        its answer was cut, empty or not what it said: it counts for nothing
    │   ├─ RateLimitedError *               it asked for a pause (``retry_after_seconds``)
    │   │   └─ SpotifyPutOffError *         a pause too long to wait for: come again at ``until`` (``reason``)
    │   ├─ RequestRejectedError             it answered 4xx: repeating will not help
    │   │   └─ SpotifyRejectedError         so did Spotify (``status``)
    │   │       └─ SpotifyUnavailableInModeError   the application's quota mode lacks this (``feature``)
    │   ├─ ConsentNeededError               a user must consent, again perhaps (``tenant``, ``user_id``)
    │   └─ UnexpectedResponseError          it answered in a shape we do not know
    ├─ PolicyError
    │   ├─ CircuitOpenError *
    │   ├─ DeadlineExceededError *          the caller's time is over, or would be
    │   ├─ RateLimitExceededError *
    │   ├─ BulkheadFullError *              too many calls run or wait already
    │   └─ SharedStateUnavailableError *    the place of shared state did not answer: decide alone
    ├─ StorageError
    │   ├─ MigrationError                   the schema is not what this code needs
    │   ├─ IncidentNotFoundError            the tenant has no incident of this number
    │   └─ ConstraintViolatedError          the data break a rule of the schema
    └─ ModelError
        ├─ InsufficientDataError            not enough history (``required``, ``available``)
        ├─ NotFittedError
        └─ ModelNotFoundError               no such model or alias in the registry

    * transient: trying again later may help
"""

from datetime import datetime
from typing import ClassVar


class CollectorsError(Exception):
    """Root of all errors of this project.

    Attributes
    ----------
    transient : bool
        Whether repeating the same call later may succeed.
    retry_after_seconds : float or None
        A lower bound for the pause before a repetition, when the other side named one.
    """

    transient: ClassVar[bool] = False
    retry_after_seconds: float | None = None


class ConfigurationError(CollectorsError):
    """A setting or a tenant file is missing, unknown or out of range."""


class StartupError(CollectorsError):
    """The local stack cannot start; the message is one line with the remedy."""


class SecurityError(CollectorsError):
    """Something was refused for the sake of security."""


class TenantIsolationError(SecurityError):
    """A tenant's identifier or data would have crossed its border."""


class CollectionError(CollectorsError):
    """A metric source could not be read."""

    def __init__(self, message: str, *, source: str) -> None:
        super().__init__(message)
        self.source = source


class SourceUnavailableError(CollectionError):
    """The source is absent or did not answer in time."""

    transient = True


class InvalidSampleError(CollectionError):
    """The source answered something that cannot be a sample."""


class SpoolError(CollectorsError):
    """The agent's spool is damaged, full or owned by another process."""


class CompressionError(CollectorsError):
    """Packed bytes are damaged, or would become larger than expected."""


class UnknownCodecError(CompressionError):
    """They were packed with a codec that this version, or this installation, does not know."""


class IntegrationError(CollectorsError):
    """Another system failed us.

    Attributes
    ----------
    service, operation : str
        Which, and what was tried.
    outcome_unknown : bool
        Whether it may have been done all the same: a commit that was never answered, say. Then it is not repeated.
    """

    outcome_unknown: bool = False

    def __init__(
        self,
        message: str,
        *,
        service: str,
        operation: str,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.service = service
        self.operation = operation
        self.retry_after_seconds = retry_after_seconds


class ServiceUnreachableError(IntegrationError):
    """No connection could be made, or it was cut."""

    transient = True


class ServiceTimeoutError(IntegrationError):
    """No answer came within the time allowed."""

    transient = True


class ServiceFailedError(IntegrationError):
    """The service answered that it failed (HTTP 5xx or the equivalent)."""

    transient = True


class IncompleteResponseError(IntegrationError):
    """The service answered, but the answer is cut, empty or not of the kind it must be: nothing of it was used."""

    transient = True


class RateLimitedError(IntegrationError):
    """The service asked us to come back later (HTTP 429)."""

    transient = True


class SpotifyPutOffError(RateLimitedError):
    """Spotify wants nothing from this developer account for longer than a run should wait.

    Attributes
    ----------
    until : datetime
        When to come again, in UTC.
    reason : str
        ``rate`` (too many requests), ``quota`` (used up for hours) or ``unknown``.
    """

    def __init__(
        self, message: str, *, operation: str, until: datetime, reason: str, retry_after_seconds: float
    ) -> None:
        super().__init__(message, service="spotify", operation=operation, retry_after_seconds=retry_after_seconds)
        self.until = until
        self.reason = reason


class RequestRejectedError(IntegrationError):
    """The service refused this very request (HTTP 4xx): repeating it will not help."""


class ConsentNeededError(IntegrationError):
    """A user's account cannot be read until the user consents (again); the message has the command.

    Attributes
    ----------
    tenant, user_id : str
        Whose account.
    """

    def __init__(self, message: str, *, service: str, operation: str, tenant: str, user_id: str) -> None:
        super().__init__(message, service=service, operation=operation)
        self.tenant = tenant
        self.user_id = user_id


class SpotifyRejectedError(RequestRejectedError):
    """Spotify refused a request.

    Attributes
    ----------
    status : int
        HTTP status, 400 to 499.
    """

    def __init__(self, message: str, *, operation: str, status: int) -> None:
        super().__init__(message, service="spotify", operation=operation)
        self.status = status


class SpotifyUnavailableInModeError(SpotifyRejectedError):
    """The application's quota mode lacks this: no failure, and nothing that a repetition would change.

    Attributes
    ----------
    feature : str
        What is lacking, e.g. ``new_releases``.
    """

    def __init__(self, message: str, *, operation: str, status: int, feature: str) -> None:
        super().__init__(message, operation=operation, status=status)
        self.feature = feature


class UnexpectedResponseError(IntegrationError):
    """The service answered in a shape we do not know."""


class PolicyError(CollectorsError):
    """One of our own policies refused the call."""


class CircuitOpenError(PolicyError):
    """The circuit breaker is open: the call was not tried."""

    transient = True


class DeadlineExceededError(PolicyError):
    """The time that the caller allowed is over, or would be after a wait."""

    transient = True


class RateLimitExceededError(PolicyError):
    """Our own rate limiter refused the call."""

    transient = True


class BulkheadFullError(PolicyError):
    """As many calls as allowed run and wait already, or the wait for one of them was too long."""

    transient = True


class SharedStateUnavailableError(PolicyError):
    """State shared with other processes cannot be reached; the caller decides with what it knows itself.

    Attributes
    ----------
    kind : str
        What went wrong, in one or two words of which there are few: a metric's label.
    one_object : bool
        Whether only this object's state is unusable: what lies there is of the wrong kind, say.
    """

    transient = True

    def __init__(
        self,
        message: str,
        *,
        kind: str = "unreachable",
        one_object: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.one_object = one_object
        self.retry_after_seconds = retry_after_seconds


class StorageError(CollectorsError):
    """The database refused what we asked for reasons of ours."""


class MigrationError(StorageError):
    """The schema is not what this code needs, or a migration failed."""


class IncidentNotFoundError(StorageError):
    """The tenant has no incident of this number."""


class ConstraintViolatedError(StorageError):
    """The data break a rule of the schema."""


class ModelError(CollectorsError):
    """A model cannot do what was asked."""


class InsufficientDataError(ModelError):
    """There is not enough history yet.

    Attributes
    ----------
    required, available : int
        Numbers of rows.
    """

    def __init__(self, message: str, *, required: int, available: int) -> None:
        super().__init__(message)
        self.required = required
        self.available = available


class NotFittedError(ModelError):
    """The model was asked before it was trained."""


class ModelNotFoundError(ModelError):
    """The registry has no such model or alias."""
