"""Connections to Redis, blocking and awaiting: short time-outs, and nothing is sent twice underneath."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.sentinel
from pydantic import SecretStr
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from collectors_dagster.config.redis_address import Node, RedisAddress, Topology
from collectors_dagster.integrations.redis.conversation import Say
from collectors_dagster.integrations.redis.hurry import hurried

_MASTER_ELSEWHERE = (exceptions.ReadOnlyError, exceptions.MasterDownError)
"""Kept connections lead to a server that is no master any more: the name may lead to another one by now."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How connections are made.

    Attributes
    ----------
    connect_seconds, answer_seconds : float
        Time-outs of a connection and of each answer.
    verify : bool
        Whether the server's certificate is checked, and its name.
    authorities : Path or None
        Certificates that vouch for the server; ``None``: the system's.
    certificate, private_key : Path or None
        With which we prove ourselves.
    sentinel_password : SecretStr or None
        What the Sentinels themselves ask for.
    """

    connect_seconds: float = 0.05
    answer_seconds: float = 0.05
    verify: bool = True
    authorities: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    sentinel_password: SecretStr | None = None


class Links:
    """Clients that block, one per node; each keeps a pool and is safe to share between threads."""

    def __init__(self, address: RedisAddress, options: LinkOptions) -> None:
        self._address = address
        self._options = options
        self._clients: dict[Node | None, Any] = {}  # redis-py says little about types

    def say(self, wish: Say) -> object:
        """Say something to a node and return its answer."""
        client = self._client(wish.node)
        try:
            if wish.asking:
                with client.pipeline(transaction=False) as pipeline:
                    pipeline.execute_command("ASKING")
                    pipeline.execute_command(*wish.words)
                    return _last(pipeline.execute(raise_on_error=False))
            return client.execute_command(*wish.words)
        except _MASTER_ELSEWHERE:
            client.connection_pool.disconnect(inuse_connections=False)
            raise

    def say_all(self, wishes: Sequence[Say]) -> list[object]:
        """Say all this to one node in one go; return what each was answered, an exception where it was an error.

        Raises
        ------
        RedisError, OSError
            If the connection fails: then nobody knows what was done.
        """
        client = self._client(wishes[0].node)
        with client.pipeline(transaction=False) as pipeline:
            for wish in wishes:
                if wish.asking:
                    pipeline.execute_command("ASKING")
                pipeline.execute_command(*wish.words)
            answers = iter(pipeline.execute(raise_on_error=False))
        found = [(next(answers), next(answers))[1] if wish.asking else next(answers) for wish in wishes]
        if any(isinstance(answer, _MASTER_ELSEWHERE) for answer in found):
            client.connection_pool.disconnect(inuse_connections=False)
        return found

    def close(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            for each in (client, *_sentinels_behind(client)):
                each.connection_pool.disconnect()

    def _client(self, node: Node | None) -> Any:
        found = self._clients.get(node)
        if found is None:
            found = self._new_client(node)
            for each in (found, *_sentinels_behind(found)):
                hurried(each.connection_pool)
            found = self._clients.setdefault(node, found)
        return found

    def _new_client(self, node: Node | None) -> Any:
        retry = Retry(NoBackoff(), 0)
        common = _arguments(self._address, self._options, retry)
        if node is None and self._address.topology is Topology.SENTINEL:
            asked = _sentinel_arguments(self._options, common)
            sentinels: Any = redis.sentinel.Sentinel
            return sentinels(list(self._address.nodes), sentinel_kwargs=asked, **common).master_for(
                self._address.service
            )
        host, port = node or self._address.nodes[0]
        return redis.Redis(host=host, port=port, **common)


class AsyncLinks:
    """The same for one event loop."""

    def __init__(self, address: RedisAddress, options: LinkOptions) -> None:
        self._address = address
        self._options = options
        self._clients: dict[Node | None, Any] = {}

    async def say(self, wish: Say) -> object:
        """Say something to a node and return its answer."""
        client = self._client(wish.node)
        try:
            if wish.asking:
                async with client.pipeline(transaction=False) as pipeline:
                    pipeline.execute_command("ASKING")
                    pipeline.execute_command(*wish.words)
                    return _last(await pipeline.execute(raise_on_error=False))
            return await client.execute_command(*wish.words)
        except _MASTER_ELSEWHERE:
            await client.connection_pool.disconnect(inuse_connections=False)
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            for each in (client, *_sentinels_behind(client)):
                await each.connection_pool.disconnect()

    def _client(self, node: Node | None) -> Any:
        found = self._clients.get(node)
        if found is None:
            found = self._clients[node] = self._new_client(node)
        return found

    def _new_client(self, node: Node | None) -> Any:
        retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
        common = _arguments(self._address, self._options, retry)
        if node is None and self._address.topology is Topology.SENTINEL:
            asked = _sentinel_arguments(self._options, common)
            sentinels: Any = redis.asyncio.sentinel.Sentinel
            return sentinels(list(self._address.nodes), sentinel_kwargs=asked, **common).master_for(
                self._address.service
            )
        host, port = node or self._address.nodes[0]
        return redis.asyncio.Redis(host=host, port=port, **common)


def _sentinels_behind(client: Any) -> list[Any]:
    """Return the clients by which a client finds its master: it leaves them open."""
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return list(manager.sentinels) if manager else []


def _last(answers: list[Any]) -> object:
    if isinstance(answers[-1], Exception):
        raise answers[-1]
    return answers[-1]


def _arguments(address: RedisAddress, options: LinkOptions, retry: object) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password.get_secret_value() if address.password else None,
        "socket_timeout": options.answer_seconds,
        "socket_connect_timeout": options.connect_seconds,
        "retry": retry,
        "protocol": 2,  # a reply is a list of integers and bytes there, and no greeting costs a round trip
        "driver_info": None,  # nor does introducing ourselves
    }
    return arguments | (_tls_arguments(options) if address.tls else {})


def _tls_arguments(options: LinkOptions) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_cert_reqs": "required" if options.verify else "none",
        "ssl_check_hostname": options.verify,
        "ssl_ca_certs": _text(options.authorities),
        "ssl_certfile": _text(options.certificate),
        "ssl_keyfile": _text(options.private_key),
    }


def _sentinel_arguments(options: LinkOptions, common: dict[str, Any]) -> dict[str, Any]:
    secret = options.sentinel_password.get_secret_value() if options.sentinel_password else None
    return {**common, "db": 0, "username": None, "password": secret}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
