"""Asking a user for consent (RFC 6749, 4.1.1 and 4.1.2, with PKCE): the address to open, and what comes back."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import SecretStr

from collectors_dagster.config.spotify import SpotifyApplication
from collectors_dagster.errors import RequestRejectedError, SecurityError
from collectors_dagster.integrations.spotify.oauth import SERVICE
from collectors_dagster.integrations.spotify.oauth.pkce import challenge, new_state, new_verifier

_OPERATION = "ask for consent"
_CODE = re.compile(r"[\x21-\x7e]{1,2048}")
_ERROR = re.compile(r"[a-z_]{1,60}")
_LONGEST_QUERY = 8192


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """One question to one user.

    Attributes
    ----------
    url : str
        To be opened in the user's browser. It holds no secret, but whoever opens it consents for this tenant.
    verifier : SecretStr
        Redeems the answer together with the code.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: SecretStr = field(repr=False)

    def code(self, redirected: str) -> SecretStr:
        """Return the code in the address, or its query, that the browser was sent back to.

        Raises
        ------
        SecurityError
            If it does not answer this very request.
        RequestRejectedError
            If the user or the service said no.
        """
        query = urlsplit(redirected).query if "?" in redirected else redirected
        if len(query) > _LONGEST_QUERY:
            raise SecurityError(f"what came back is longer than {_LONGEST_QUERY} characters; start again")
        values = parse_qs(query, keep_blank_values=True)
        state = _single(values, "state")
        if state is None or not hmac.compare_digest(state.encode(), self.state.encode()):
            raise SecurityError("what came back does not belong to this request (another `state`); start again")
        error = _single(values, "error")
        if error is not None:
            said = error if _ERROR.fullmatch(error) else "an error without a name"
            hint = (
                "the user declined" if said == "access_denied" else "start again, or check the application at Spotify"
            )
            raise RequestRejectedError(f"{SERVICE}: {said}: {hint}", service=SERVICE, operation=_OPERATION)
        code = _single(values, "code")
        if code is None or not _CODE.fullmatch(code):
            raise SecurityError("what came back holds no code; paste the whole address, or start again")
        return SecretStr(code)


def ask_for_consent(
    application: SpotifyApplication, redirect_uri: str, scopes: Sequence[str], *, show_dialog: bool = False
) -> ConsentRequest:
    """Return a new question to a user.

    Parameters
    ----------
    show_dialog : bool
        Let the user choose, or change the account, although the application was allowed before.
    """
    state, verifier = new_state(), new_verifier()
    query = {
        "response_type": "code",
        "client_id": application.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge_method": "S256",
        "code_challenge": challenge(verifier),
        **({"show_dialog": "true"} if show_dialog else {}),
    }
    return ConsentRequest(f"{application.accounts_url}/authorize?{urlencode(query)}", redirect_uri, state, verifier)


def _single(values: dict[str, list[str]], name: str) -> str | None:
    """Return a parameter that is there exactly once (RFC 6749, 3.1)."""
    found = values.get(name, [])
    return found[0] if len(found) == 1 else None
