"""Policies composed: ``policy = timeout | retry | breaker | limiter | bulkhead | cache``, the outermost first.

That is the order which makes sense: one time limit over everything; repetitions inside it; each of them asks the
circuit, so that an open one costs no permit; a call that may go waits for its turn and then for a place, so that
nobody holds a place while waiting for a turn; and a value that is at hand costs only what stands before the cache.
Any other order that is written is carried out as it is written.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import reduce, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from collectors_dagster.clock import Clock
from collectors_dagster.errors import DeadlineExceededError
from collectors_dagster.patterns.deadline import deadline, remaining_seconds

P = ParamSpec("P")
T = TypeVar("T")


class Layer(Protocol):
    """One policy: it calls what it is given, or refuses, or calls it again."""

    def call(self, operation: Callable[[], T], /) -> T:
        """Call `operation` under the policy."""
        ...

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Await `operation` under the policy."""
        ...


@dataclass(slots=True)
class Invocation(Generic[T]):
    """What a policy's layers are given to call: it knows what it calls in the end, which is what a cache's key says.

    Attributes
    ----------
    inward : callable
        The layers within, and at last `function` with its arguments.
    """

    inward: Callable[[], T]
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> T:
        """Call what lies within."""
        return self.inward()

    def within(self, around: Callable[[], T]) -> "Invocation[T]":
        """Return the same with one more layer around it."""
        return Invocation(around, self.function, self.arguments, self.keywords)


def invocation(
    inward: Callable[[], T], function: Callable[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> Invocation[T]:
    """Return what is called; a policy within a policy calls what the outer one does."""
    if isinstance(function, Invocation) and not arguments and not keywords:
        return Invocation(inward, function.function, function.arguments, function.keywords)
    return Invocation(inward, function, arguments, keywords)


_MAKERS: tuple[Callable[[Any], Any], ...] = (contextmanager, asynccontextmanager)
_CONTEXT_MAKERS = {maker(iter).__code__: maker for maker in _MAKERS}
"""By the code that all their results share: nothing else tells those from functions that do their work when called."""


def context_maker(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return ``contextmanager`` or ``asynccontextmanager``, whichever made `function`; else ``None``.

    Examples
    --------
    >>> @contextmanager
    ... def session():
    ...     yield 1
    >>> context_maker(session) is contextmanager, context_maker(len)
    (True, None)
    """
    return _CONTEXT_MAKERS.get(getattr(function, "__code__", None))


def works_later(function: Callable[..., Any]) -> bool:
    """Say whether a call only begins what `function` does: generators, and context managers made of them."""
    return isgeneratorfunction(function) or isasyncgenfunction(function) or context_maker(function) is not None


class Policy:
    """Layers around a call, the outermost first; itself a layer, and a decorator that keeps signatures.

    Examples
    --------
    >>> from collectors_dagster.clock import SystemClock
    >>> timeout = Timeout(5.0, clock=SystemClock())
    >>> policy = Policy(timeout) | Timeout(1.0, clock=SystemClock())
    >>> policy.call(lambda: "answer")
    'answer'
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers: tuple[Layer, ...] = layers

    def __or__(self, inner: Layer) -> "Policy":
        return Policy(*self.layers, *(inner.layers if isinstance(inner, Policy) else (inner,)))

    def call(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `operation` under all layers."""
        innermost = invocation(lambda: operation(*args, **kwargs), operation, args, kwargs)
        return reduce(_around, reversed(self.layers), innermost)()

    async def acall(self, operation: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `operation` under all layers."""

        async def innermost() -> T:
            return await operation(*args, **kwargs)

        called = invocation(innermost, operation, args, kwargs)
        return await reduce(_aaround, reversed(self.layers), called)()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or coroutine.

        Raises
        ------
        TypeError
            For a generator or a context manager made of one, which not every layer can guard.
        """
        if works_later(function):
            raise TypeError(f"{function.__qualname__} is a generator; decorate it with the breaker alone")

        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self.call(function, *args, **kwargs)

        async def aguarded(*args: Any, **kwargs: Any) -> Any:
            return await self.acall(cast("Callable[..., Any]", function), *args, **kwargs)

        return cast("Callable[P, T]", wraps(function)(aguarded if iscoroutinefunction(function) else guarded))


def _around(operation: Invocation[T], layer: Layer) -> Invocation[T]:
    return operation.within(lambda: layer.call(operation))


def _aaround(operation: Invocation[Coroutine[Any, Any, T]], layer: Layer) -> Invocation[Coroutine[Any, Any, T]]:
    async def around() -> T:
        return await layer.acall(operation)

    return operation.within(around)


class Timeout:
    """A layer that allows all that lies within it so many seconds.

    A coroutine is cancelled when they are over. A thread cannot be stopped: waits within it end in time, and drivers
    have limits of their own, which should be shorter.
    """

    def __init__(self, seconds: float, *, clock: Clock) -> None:
        if not seconds > 0:
            raise ValueError(f"a timeout is above 0 seconds, not {seconds}")
        self.seconds = seconds
        self._clock = clock

    def __or__(self, inner: Layer) -> Policy:
        return Policy(self, inner)

    def call(self, operation: Callable[[], T], /) -> T:
        """Call `operation` under a deadline."""
        with deadline(self.seconds, clock=self._clock):
            return operation()

    async def acall(self, operation: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Await `operation`; cancel it when the time is over.

        Raises
        ------
        DeadlineExceededError
            If it was cancelled for that reason.
        """
        import asyncio  # noqa: PLC0415 - whoever awaits has it; the agent, which does not, stays small

        with deadline(self.seconds, clock=self._clock):
            limit = asyncio.timeout(remaining_seconds())
            try:
                async with limit:
                    return await operation()
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise DeadlineExceededError(f"no answer within {self.seconds:g} s") from error
