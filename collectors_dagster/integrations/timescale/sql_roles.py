"""Login roles of people that write SQL: tenants through ``api``, each its own rows, and the staff.

Names of roles are chosen or random, never made of a tenant's: everybody with a login can list them. The
server gets a password only as its SCRAM verifier, so that no log and no list of sessions can hold it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from secrets import token_hex, token_urlsafe

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from collectors_dagster.errors import ConfigurationError
from collectors_dagster.integrations.timescale.database import Cursor, Database
from collectors_dagster.integrations.timescale.queries import load_queries
from collectors_dagster.integrations.timescale.tenants import TenantTable

QUERIES = load_queries("sql_roles")

SHORTEST_PASSWORD = 12
"""Characters."""
QUERY_LIFETIME = timedelta(hours=1)
"""How long the role of a single query may live."""
CONNECTIONS = 10
"""Sessions at once of one role."""
DEFAULTS = {
    "search_path": "api",
    "default_transaction_read_only": "on",
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
}
"""What a tenant's session starts with. It may set them otherwise: they are a convenience, no border."""

_NAME = re.compile(r"(?!pg_)[a-z][a-z0-9_]{2,62}")
_CREATE = sql.SQL("create role {role} login connection limit {limit} password {verifier}")
_STAFF = {
    "reader": ("grant usage on schema api to {role}",),
    "operator": (
        "grant usage on schema api, core to {role}",
        "grant select on all tables in schema core to {role}",
        "alter default privileges in schema core grant select on tables to {role}",
    ),
    "owner": (
        "grant usage on schema api, core to {role}",
        "grant select, insert, update, delete, truncate on all tables in schema core to {role}",
        "alter default privileges in schema core grant select, insert, update, delete, truncate on tables to {role}",
        "grant execute on all functions in schema core to {role}",
    ),
}


class Rank(StrEnum):
    """What a role of the staff may do."""

    READER = "reader"
    """See every tenant through ``api``."""
    OPERATOR = "operator"
    """Read the platform's own tables too: books, agents, incidents."""
    OWNER = "owner"
    """Change every row. The schema itself changes only by migrations."""


@dataclass(frozen=True, slots=True)
class Login:
    """A role somebody can log in with now.

    Attributes
    ----------
    password : SecretStr or None
        Known only if it was made here and now: nobody can read it again. None if the role was there already.
    """

    role: str
    password: SecretStr | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A role that sees a tenant."""

    role: str
    tenant_id: str
    granted_at: datetime
    expires_at: datetime | None


class SqlRoleTable:
    """``core.tenant_member``, ``core.staff_member`` and the server's roles behind them."""

    def __init__(self, database: Database, tenants: TenantTable, conninfo: SecretStr) -> None:
        self._database = database
        self._tenants = tenants
        self._conninfo = conninfo

    def grant(
        self,
        tenant_id: str,
        role: str | None = None,
        password: SecretStr | None = None,
        lifetime: timedelta | None = None,
    ) -> Login:
        """Let a role see one tenant through ``api``; the role is made if there is none of that name.

        Parameters
        ----------
        role : str, optional
            By default a random name. One that was made here for another tenant sees both afterwards.
        password : SecretStr, optional
            Of a new role; by default a random one.
        lifetime : timedelta, optional
            After it the role sees nothing any more.

        Raises
        ------
        ConfigurationError
            If the name or the password will not do, or roles cannot be made here.
        """
        key = self._tenants.key(tenant_id)
        name = checked_role(role or f"sql_{token_hex(6)}")
        with self._change(f"let tenant {tenant_id!r} log in") as cursor:
            exists = _known(cursor, name, tenant_id)
            if exists and password is not None:
                raise ConfigurationError(
                    f"role {name!r} has a password already: leave it out to let the role see tenant {tenant_id!r} too"
                )
            login = Login(name, None) if exists else _create(cursor, name, password)
            if not exists:
                _open_api(cursor, name)
            cursor.execute(QUERIES["add_member"], {"role": name, "tenant_key": key, "lifetime": lifetime})
        return login

    def revoke(self, tenant_id: str, role: str) -> bool:
        """Take a tenant from a role's sight, and end its sessions; a role that sees nothing more is dropped.

        Returns
        -------
        bool
            Whether the role was dropped.

        Raises
        ------
        ConfigurationError
            If the role does not see this tenant.
        """
        wanted = {"role": role, "tenant_key": self._tenants.key(tenant_id)}
        with self._change(f"revoke role {role!r}") as cursor:
            row = cursor.execute(QUERIES["remove_member"], wanted).fetchone()
            if row is None:
                raise ConfigurationError(
                    f"role {role!r} does not see tenant {tenant_id!r}: `collectors tenant list-sql` shows who does"
                )
            left = cursor.execute(QUERIES["other_memberships"], wanted).fetchone()
            dropped = bool(row[0]) and left == (0,)
            if dropped:
                _drop(cursor, role)
        return dropped

    def members(self) -> list[Member]:
        """Return who may see which tenant."""
        with self._database.transaction("list the roles of tenants") as cursor:
            return [Member(*row) for row in cursor.execute(QUERIES["members"])]

    def grant_staff(self, rank: Rank, role: str | None = None, password: SecretStr | None = None) -> Login:
        """Make a role of the staff, which sees every tenant.

        Raises
        ------
        ConfigurationError
            If the name is taken, or the name or the password will not do.
        """
        name = checked_role(role or f"staff_{token_hex(6)}")
        with self._change("make a role of the staff") as cursor:
            row = cursor.execute(QUERIES["known"], {"role": name}).fetchone()
            if row is not None and row[0]:
                raise ConfigurationError(f"there is a role {name!r} already: choose another name")
            login = _create(cursor, name, password)
            for right in _STAFF[rank.value]:
                cursor.execute(sql.SQL(right).format(role=sql.Identifier(name)))
            cursor.execute(QUERIES["add_staff"], {"role": name, "rank": rank.value})
        return login

    def revoke_staff(self, role: str) -> None:
        """Drop a role of the staff, and end its sessions.

        Raises
        ------
        ConfigurationError
            If it is none.
        """
        with self._change(f"revoke role {role!r}") as cursor:
            if cursor.execute(QUERIES["remove_staff"], {"role": role}).rowcount == 0:
                raise ConfigurationError(f"{role!r} is no role of the staff: `collectors db staff list` shows them")
            _drop(cursor, role)

    def staff(self) -> list[tuple[str, Rank]]:
        """Return the staff's roles."""
        with self._database.transaction("list the staff's roles") as cursor:
            return [(name, Rank(rank)) for name, rank in cursor.execute(QUERIES["staff"])]

    @contextmanager
    def reader(self, tenant_id: str) -> Iterator[SecretStr]:
        """Yield the address of a login that sees this tenant and nothing else, and drop it afterwards.

        A login of its own, because ``set role`` is no border: whatever runs behind it resets it, even within
        one statement (``set_config('role', 'none', true)``).
        """
        self._sweep()
        login = self.grant(tenant_id, f"sql_query_{token_hex(6)}", lifetime=QUERY_LIFETIME)
        assert login.password is not None
        parts = conninfo_to_dict(self._conninfo.get_secret_value())
        parts |= {"user": login.role, "password": login.password.get_secret_value()}
        try:
            yield SecretStr(make_conninfo("", **parts))
        finally:
            self.revoke(tenant_id, login.role)

    def _sweep(self) -> None:
        """Drop what killed processes left."""
        with self._database.transaction("find left-over roles") as cursor:
            left = cursor.execute(QUERIES["left_over"], {}).fetchall()
        for role, tenant_id in left:
            self.revoke(tenant_id, role)

    @contextmanager
    def _change(self, operation: str) -> Iterator[Cursor]:
        with self._database.transaction(operation) as cursor:
            cursor.execute(QUERIES["lock"])
            yield cursor


def checked_role(name: str) -> str:
    """Return the name of a role if it will do.

    Raises
    ------
    ConfigurationError
        If not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a role's name: 3-63 lower-case letters, digits and underscores, a letter first, "
            "and not pg_..."
        )
    return name


def checked_password(password: SecretStr) -> SecretStr:
    """Return a password if it will do.

    Raises
    ------
    ConfigurationError
        If it is too short, or of more than one line.
    """
    text = password.get_secret_value()
    if len(text) < SHORTEST_PASSWORD or not text.isprintable():
        raise ConfigurationError(f"a password needs at least {SHORTEST_PASSWORD} printable characters on one line")
    return password


def _known(cursor: Cursor, role: str, tenant_id: str) -> bool:
    """Return whether the role is there and was made here for a tenant; refuse all others."""
    row = cursor.execute(QUERIES["known"], {"role": role}).fetchone()
    assert row is not None
    exists, made_here, staff = row
    if exists and (staff or not made_here):
        raise ConfigurationError(
            f"role {role!r} exists and was not made for a tenant: choose another name for tenant {tenant_id!r}"
        )
    return bool(exists)


def _create(cursor: Cursor, role: str, password: SecretStr | None) -> Login:
    chosen = SecretStr(token_urlsafe(24)) if password is None else checked_password(password)
    database = _close_database(cursor)
    cursor.execute(QUERIES["strengthen"])
    verifier = cursor.connection.pgconn.encrypt_password(
        chosen.get_secret_value().encode(), role.encode(), b"scram-sha-256"
    )
    names = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
    cursor.execute(_CREATE.format(**names, limit=sql.Literal(CONNECTIONS), verifier=sql.Literal(verifier.decode())))
    # We must be of the role to end its sessions and to drop its rights.
    cursor.execute(sql.SQL("grant {role} to current_user").format(**names))
    cursor.execute(sql.SQL("grant connect on database {database} to {role}").format(**names))
    return Login(role, chosen)


def _close_database(cursor: Cursor) -> str:
    """Take from everybody the right to connect and to make temporary objects; return the database's name."""
    row = cursor.execute(QUERIES["may_create"]).fetchone()
    assert row is not None
    user, database, may_create, owned = row
    if not may_create:
        raise ConfigurationError(
            f"the platform's database role {user!r} may not create roles: a superuser allows it by "
            f'`alter role "{user}" createrole`'
        )
    still_open = cursor.execute(QUERIES["is_open"]).fetchone()
    if still_open == (True,):
        if not owned:
            raise ConfigurationError(
                f"everybody may connect to database {database!r} and role {user!r} does not own it: its owner closes "
                f'it by `revoke connect, temporary on database "{database}" from public`'
            )
        cursor.execute(sql.SQL("revoke connect, temporary on database {} from public").format(sql.Identifier(database)))
    return str(database)


def _open_api(cursor: Cursor, role: str) -> None:
    name = sql.Identifier(role)
    cursor.execute(sql.SQL("grant usage on schema api to {}").format(name))
    for setting, value in DEFAULTS.items():
        cursor.execute(sql.SQL("alter role {} set {} to {}").format(name, sql.Identifier(setting), sql.Literal(value)))


def _drop(cursor: Cursor, role: str) -> None:
    cursor.execute(QUERIES["cut_off"], {"role": role})
    cursor.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
    cursor.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
