"""Where Redis is, as a URL says it."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from collectors_dagster.errors import ConfigurationError

Node: TypeAlias = tuple[str, int]
"""Host name or address, and port."""

_FORMS = (
    "redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],.../service[/db] or "
    "redis+cluster://[user:password@]host[:port],...; rediss instead of redis for TLS"
)
_REDIS_PORT = 6379
_SENTINEL_PORT = 26379


class Topology(Enum):
    """How the servers stand to each other."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One installation of Redis.

    Attributes
    ----------
    nodes : tuple of Node
        The server; the Sentinels; or some nodes of the cluster, which name the rest.
    service : str
        What Sentinel calls the master; empty without Sentinel.
    username : str or None
        ACL user; ``None``: the default user.
    """

    topology: Topology
    nodes: tuple[Node, ...]
    tls: bool = False
    database: int = 0
    service: str = ""
    username: str | None = None
    password: SecretStr | None = field(default=None, repr=False)


def parse_address(url: str) -> RedisAddress:
    """Return what `url` says.

    Raises
    ------
    ConfigurationError
        If it is none of the documented forms. The message does not hold the URL, which may hold a password.

    Examples
    --------
    >>> parse_address("rediss://[::1]/2")
    RedisAddress(topology=<Topology.STANDALONE: 'standalone'>, nodes=(('::1', 6379),), tls=True, database=2, \
service='', username=None)
    >>> parse_address("redis+sentinel://a,b:26380/shared").nodes
    (('a', 26379), ('b', 26380))
    """
    scheme, _, rest = url.partition("://")
    secure, _, form = scheme.partition("+")
    try:
        topology = Topology(form) if "+" in scheme else Topology.STANDALONE
        tls = {"redis": False, "rediss": True}[secure]
        credentials, _, place = rest.rpartition("@")
        servers, *path = place.split("/")
        nodes = tuple(_node(each, topology) for each in servers.split(","))
        service = path.pop(0) if topology is Topology.SENTINEL else ""
        database = int(path.pop(0) or "0") if path else 0
    except (ValueError, KeyError, IndexError):
        raise _unknown() from None
    if path or database < 0 or (topology is Topology.SENTINEL and not service):
        raise _unknown()
    if (topology is Topology.STANDALONE and len(nodes) > 1) or (topology is Topology.CLUSTER and database):
        raise _unknown()
    user, _, password = credentials.partition(":")
    return RedisAddress(
        topology,
        nodes,
        tls,
        database,
        unquote(service),
        unquote(user) or None,
        SecretStr(unquote(password)) if password else None,
    )


def _node(text: str, topology: Topology) -> Node:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0 or parts.path or parts.query or parts.fragment:
        raise ValueError(text)
    usual = _SENTINEL_PORT if topology is Topology.SENTINEL else _REDIS_PORT
    return parts.hostname, parts.port or usual


def _unknown() -> ConfigurationError:
    return ConfigurationError(f"the address of Redis is none that we know; write {_FORMS}")
