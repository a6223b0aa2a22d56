"""`collectors tenant grant-sql|revoke-sql|list-sql` and `collectors db staff`: who may log in to the database."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import SecretStr

from collectors_dagster.config import load_settings
from collectors_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from collectors_dagster.integrations.timescale import Store
    from collectors_dagster.integrations.timescale.sql_roles import Login

TenantArgument = Annotated[str, typer.Argument(help="Whose rows it sees.")]
RoleArgument = Annotated[str, typer.Argument(help="The role's name.")]
RoleOption = Annotated[
    str | None,
    typer.Option("--role", help="Its name, which everybody with a login can list; by default a random one."),
]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="Take the password from the first line of this file; - reads it.")
]
Prompt = Annotated[bool, typer.Option("--prompt", help="Ask for the password.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

staff = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Database logins of the staff.")


def grant_sql(
    tenant_id: TenantArgument,
    *,
    role: RoleOption = None,
    password_file: PasswordFile = None,
    prompt: Prompt = False,
    as_json: AsJson = False,
) -> None:
    """Let somebody read this tenant's rows by SQL (docs/sql.md); a random password is shown once and kept nowhere."""
    from collectors_dagster.config.tenants import load_tenants

    password = _password(password_file, prompt=prompt)
    configured = {one.id: one for one in load_tenants(load_settings()).tenants}
    with _store() as store:
        if tenant_id in configured:  # a new tenant's login need not wait until somebody told the database of it
            store.tenants.introduce(configured[tenant_id])
        login = store.sql_roles.grant(tenant_id, role, password)
    seen = {"tenant": tenant_id, **_shown(login, given=password is not None)}
    said = f"role {login.role} sees tenant {tenant_id}" + ("" if login.password else " too; its password stays")
    _print(seen, said, as_json=as_json)


def revoke_sql(tenant_id: TenantArgument, role: RoleArgument, as_json: AsJson = False) -> None:
    """Take a tenant's rows from a role; one that sees nothing more is dropped, and its sessions end."""
    with _store() as store:
        dropped = store.sql_roles.revoke(tenant_id, role)
    said = f"role {role} no longer sees tenant {tenant_id}" + (" and is dropped" if dropped else "")
    _print({"tenant": tenant_id, "role": role, "dropped": dropped}, said, as_json=as_json)


def list_sql(as_json: AsJson = False) -> None:
    """List the roles that read tenants' rows by SQL."""
    with _store() as store:
        found = store.sql_roles.members()
    if as_json:
        typer.echo(
            json.dumps([_member(one.role, one.tenant_id, one.granted_at.isoformat()) for one in found], indent=2)
        )
        return
    for one in found:
        typer.echo(f"{one.role:32} {one.tenant_id:32} since {one.granted_at:%Y-%m-%d %H:%M}")
    if not found:
        typer.echo("No role reads a tenant's rows by SQL.")


@staff.command()
def grant(
    *,
    rank: Annotated[
        str,
        typer.Option("--as", help="reader: every tenant; operator: the platform's own tables too; owner: writes them."),
    ],
    role: RoleOption = None,
    password_file: PasswordFile = None,
    prompt: Prompt = False,
    as_json: AsJson = False,
) -> None:
    """Make a login for one of the staff, which sees every tenant."""
    from collectors_dagster.integrations.timescale.sql_roles import Rank

    if rank not in list(Rank):
        raise typer.BadParameter("--as is one of reader, operator, owner")
    password = _password(password_file, prompt=prompt)
    with _store() as store:
        login = store.sql_roles.grant_staff(Rank(rank), role, password)
    seen = {"rank": rank, **_shown(login, given=password is not None)}
    _print(seen, f"role {login.role} is {rank}", as_json=as_json)


@staff.command()
def revoke(role: RoleArgument, as_json: AsJson = False) -> None:
    """Drop a login of the staff, and end its sessions."""
    with _store() as store:
        store.sql_roles.revoke_staff(role)
    _print({"role": role, "dropped": True}, f"role {role} is dropped", as_json=as_json)


@staff.command("list")
def list_staff(as_json: AsJson = False) -> None:
    """List the logins of the staff."""
    with _store() as store:
        found = store.sql_roles.staff()
    if as_json:
        typer.echo(json.dumps([{"role": role, "rank": rank.value} for role, rank in found], indent=2))
        return
    for role, rank in found:
        typer.echo(f"{role:32} {rank.value}")
    if not found:
        typer.echo("The staff has no logins.")


def _store() -> "Store":
    from collectors_dagster.integrations.timescale import Store

    return Store(load_settings().database_conninfo(), application_name="collectors-cli", max_connections=1)


def _password(file: Path | None, *, prompt: bool) -> SecretStr | None:
    """Return the password somebody chose; never from the command line, which every process on the host can read."""
    if file is not None and prompt:
        raise typer.BadParameter("--password-file and --prompt exclude each other")
    if prompt:
        return SecretStr(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return None if file is None else SecretStr(_first_line(file))


def _first_line(file: Path) -> str:
    try:
        text = typer.get_text_stream("stdin").readline() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{file}: the password cannot be read: {type(error).__name__}") from None
    return text.partition("\n")[0].rstrip("\r")


def _shown(login: "Login", *, given: bool) -> dict[str, Any]:
    """Show a password only if nobody knows it yet."""
    if login.password is None or given:
        return {"role": login.role}
    return {"role": login.role, "password": login.password.get_secret_value()}


def _member(role: str, tenant_id: str, since: str) -> dict[str, str]:
    return {"role": role, "tenant": tenant_id, "since": since}


def _print(data: dict[str, Any], said: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(data, indent=2))
        return
    typer.echo(said)
    if "password" in data:
        typer.echo(f"password: {data['password']}  (shown once)")
