"""What the client asks for before each request."""

from typing import Protocol

from pydantic import SecretStr

SERVICE = "spotify accounts"
"""Names the accounts service in errors."""


class AccessTokens(Protocol):
    """Access tokens of one user, or of one application.

    Attributes
    ----------
    account : str
        Developer account that the quota counts for.
    user : str
        ``app``, or a stable name of the user whose tokens these are: keeps apart what is cached.
    """

    account: str
    user: str

    async def token(self) -> SecretStr:
        """Return a token that is valid for a while yet.

        Raises
        ------
        ConsentNeededError
            If only the user can help.
        IntegrationError
            If the accounts service does not give one.
        """
        ...

    async def rejected(self, token: SecretStr) -> SecretStr:
        """Return another token in the place of one that the API answered 401 to; one refresh serves all who ask."""
        ...
