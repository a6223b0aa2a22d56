"""What Spotify accepts as addresses and ids, checked before anything is asked."""

import ipaddress
import re
from urllib.parse import urlsplit

_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def checked_client_id(value: str) -> str:
    """Return `value` if it can be the client id of an application."""
    if not _CLIENT_ID.fullmatch(value):
        raise ValueError("it must be the application's client id: letters, digits, - and _, at most 128 of them")
    return value


def checked_service_url(value: str) -> str:
    """Return the address of a service, without a slash at its end; plain http only on this machine.

    Examples
    --------
    >>> checked_service_url("https://api.spotify.com/v1/")
    'https://api.spotify.com/v1'
    """
    parts = urlsplit(value)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError("it must begin with https://: secrets are sent there (http only to this machine)")
    if parts.query or parts.fragment:
        raise ValueError("it must be an address without ? and #")
    return value.rstrip("/")


def checked_redirect_uri(value: str) -> str:
    """Return `value` if Spotify takes it as a redirect URI: https, or http on an address of the loopback.

    Examples
    --------
    >>> checked_redirect_uri("http://127.0.0.1:8888/callback")
    'http://127.0.0.1:8888/callback'
    """
    parts = urlsplit(value)
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        raise ValueError("localhost is refused by Spotify: write http://127.0.0.1 (or http://[::1]), here and there")
    if parts.scheme != "https" and host not in {"127.0.0.1", "::1"}:
        raise ValueError("it must begin with https://, or be http://127.0.0.1 or http://[::1]")
    if parts.query or parts.fragment:
        raise ValueError("it must be an address without ? and #")
    return value


def is_loopback(host: str) -> bool:
    """Return whether a host of a URL is this machine, by name or address.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "127.0.0.1.example", "10.0.0.1")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
