"""The keys that seal tokens: configured, or for a local stack made by itself."""

from hashlib import sha256

from collectors_dagster.config import Settings
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.security.sealing import Sealer, load_sealer
from collectors_dagster.security.secrets import read_or_create

GENERATED = "spotify-tokens.key"


def token_sealer(settings: Settings) -> Sealer:
    """Return what seals tokens: with ``spotify.token_keys``, or with a key that this data directory keeps.

    Raises
    ------
    ConfigurationError
        If the database is an external one, which other machines may use, and no key is configured.
    SecurityError
        If the keys cannot be read, or others can read them.
    """
    configured = load_sealer(settings.spotify.token_keys, settings.spotify.token_keys_file)
    if configured is not None:
        return configured
    if not settings.postgres_embedded:
        raise ConfigurationError(
            "spotify.token_keys_file: tokens in an external database need a key that all machines have: make one with "
            "`head -c 32 /dev/urandom | base64`, and name its file (or set spotify.token_keys) on each of them"
        )
    secret = read_or_create(settings, GENERATED).get_secret_value()
    return Sealer([sha256(b"collectors spotify tokens" + secret.encode()).digest()])
