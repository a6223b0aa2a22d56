"""The accounts service over HTTP: the page of consent and the token endpoint."""

import ipaddress
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit

from collectors_dagster.sandbox.accounts import SCOPES, Accounts, GrantError, TokenReply
from collectors_dagster.sandbox.http import Answer, Request, json_answer, text_answer
from collectors_dagster.sandbox.listeners import Listener, Listeners
from collectors_dagster.sandbox.options import SandboxApp

_HTML = "text/html; charset=utf-8"


class AccountsService:
    """Answers ``/authorize`` and ``/api/token``."""

    def __init__(self, accounts: Accounts, listeners: Listeners) -> None:
        self._accounts = accounts
        self._listeners = listeners

    def authorize(self, request: Request) -> Answer:
        """Ask the user, or answer for them: back to the application with a code.

        Without ``show_dialog=true`` the sandbox's user says yes at once, as somebody does who has agreed before.
        ``sandbox_user`` says which user, ``sandbox_consent=no`` that they refuse.
        """
        query = request.query
        address = query.get("redirect_uri", "")
        user = self._listeners.of(query.get("sandbox_user", self._listeners.all[0].id))
        try:
            app = self._accounts.app(query.get("client_id", ""))
        except GrantError:
            app = None
        if app is None or user is None or not _is_registered(address, app):
            what = "client" if app is None else "sandbox user" if user is None else "redirect URI"
            return text_answer(f"INVALID_CLIENT: Invalid {what}", 400)
        problem = _problem(query)
        if problem:
            return _back(address, query, {"error": problem})
        consent = query.get("sandbox_consent", "")
        if query.get("show_dialog") == "true" and not consent:
            return text_answer(_consent_page(query, app, self._listeners), 200, _HTML)
        if consent == "no":
            return _back(address, query, {"error": "access_denied"})
        return _back(address, query, {"code": self._code(app, user, query)})

    def token(self, request: Request) -> Answer:
        """Answer a POST to the token endpoint."""
        if request.method != "POST":
            return text_answer("Method not allowed", 405)
        try:
            reply = self._granted(request)
        except GrantError as error:
            refusal = {"error": error.error, "error_description": error.description}
            return json_answer(refusal, 400, {"cache-control": "no-store"})
        return json_answer(reply.as_json(), 200, {"cache-control": "no-store"})

    def _code(self, app: SandboxApp, user: Listener, query: Mapping[str, str]) -> str:
        scopes = query.get("scope", "").split()
        return self._accounts.consent(app, user.id, scopes, query["redirect_uri"], query.get("code_challenge", ""))

    def _granted(self, request: Request) -> TokenReply:
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            raise GrantError("invalid_request", "The body must be application/x-www-form-urlencoded")
        form = request.form()
        kind = form.get("grant_type", "")
        app, with_secret = self._application(request, form)
        if kind == "client_credentials":
            if not with_secret:
                raise GrantError("invalid_client", "Invalid client secret")
            return self._accounts.for_application(app)
        if kind == "authorization_code":
            verifier = form.get("code_verifier")
            if verifier is None and not with_secret:
                raise GrantError("invalid_request", "code_verifier or client secret must be supplied")
            return self._accounts.redeem(
                app.client_id, _field(form, "code"), _field(form, "redirect_uri"), verifier, with_secret=with_secret
            )
        if kind == "refresh_token":
            return self._accounts.refresh(app.client_id, _field(form, "refresh_token"), with_secret=with_secret)
        raise GrantError(
            "unsupported_grant_type", "grant_type must be client_credentials, authorization_code or refresh_token"
        )

    def _application(self, request: Request, form: Mapping[str, str]) -> tuple[SandboxApp, bool]:
        """Return who asks, and whether they showed their secret."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, _, secret = _decoded(given).partition(":")
            return self._accounts.authenticated(client_id, secret), True
        if "client_secret" in form:
            return self._accounts.authenticated(form.get("client_id", ""), form["client_secret"]), True
        return self._accounts.app(form.get("client_id", "")), False


def is_loopback(address: str) -> bool:
    """Return whether an address is http on this machine by number: the name `localhost` is refused.

    Examples
    --------
    >>> [is_loopback(f"http://{host}/callback") for host in ("127.0.0.1:8888", "[::1]:9", "localhost:8888", "10.0.0.1")]
    [True, True, False, False]
    """
    try:
        parts = urlsplit(address)
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _is_registered(address: str, app: SandboxApp) -> bool:
    return is_loopback(address) or address in app.redirect_uris


def _problem(query: Mapping[str, str]) -> str:
    """Return what is wrong with a request for consent, in the words of RFC 6749, section 4.1.2.1."""
    if query.get("response_type") != "code":
        return "unsupported_response_type"
    if not set(query.get("scope", "").split()) <= SCOPES:
        return "invalid_scope"
    if "code_challenge" in query and query.get("code_challenge_method") != "S256":
        return "invalid_request"
    return ""


def _back(address: str, query: Mapping[str, str], said: Mapping[str, str]) -> Answer:
    state = {"state": query["state"]} if "state" in query else {}
    parts = urlsplit(address)
    parameters = [*parse_qsl(parts.query), *said.items(), *state.items()]
    return Answer(302, b"", {"location": parts._replace(query=urlencode(parameters)).geturl()})


def _consent_page(query: Mapping[str, str], app: SandboxApp, listeners: Listeners) -> str:
    kept = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in query.items()
        if name not in {"sandbox_user", "sandbox_consent"}
    )
    users = "".join(f'<option value="{user.id}">{escape(user.name)}</option>' for user in listeners.all)
    wanted = escape(query.get("scope", "") or "nothing but public data")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Spotify sandbox</title></head><body>'
        f"<h1>This is the local sandbox, not Spotify</h1><p>The application {escape(app.client_id)} asks for: {wanted}."
        f'</p><form action="/authorize">{kept}<label>User <select name="sandbox_user">{users}</select></label> '
        '<button name="sandbox_consent" value="yes">Agree</button> '
        '<button name="sandbox_consent" value="no">Refuse</button></form></body></html>'
    )


def _field(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise GrantError("invalid_request", f"{name} must be supplied")
    return form[name]


def _decoded(basic: str) -> str:
    try:
        return b64decode(basic, validate=True).decode()
    except (Base64Error, UnicodeDecodeError) as error:
        raise GrantError("invalid_client", "Invalid client") from error
