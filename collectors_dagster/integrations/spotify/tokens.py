"""What the client needs of whoever keeps tokens."""

from typing import Protocol

from pydantic import SecretStr


class AccessTokens(Protocol):
    """Access tokens of one user, or of the application itself."""

    @property
    def account(self) -> str:
        """The developer account for which Spotify counts requests."""
        ...

    async def token(self) -> SecretStr:
        """Return a token that is valid for a while yet."""
        ...

    async def rejected(self, token: SecretStr) -> SecretStr:
        """Return the token that follows `token`, which was answered with 401; all who ask get the same one."""
        ...
