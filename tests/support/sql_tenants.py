"""A tenant with a database login beside another one whose rows hold words that appear nowhere else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import numpy as np
import psycopg
from psycopg import sql
from pydantic import SecretStr

from collectors_dagster.integrations.timescale import DeliveryStore, Store
from collectors_dagster.integrations.timescale.details import DetailBatch
from collectors_dagster.samples import Sample, SeriesKey
from collectors_dagster.strategies.chunks import CompressionRule
from tests.support.store_data import AURORA, BOREALIS, DAY, LOAD1, after, axis, day_of_samples

QUANTILES = ("metrics_daily_quantiles", "metrics_hourly_quantiles")
VIEWS = ("metrics", "metrics_daily", "metrics_detail", "metrics_hourly", *QUANTILES, "series")
VAULT = SeriesKey("vaulthost", "vaultsource", "vaultmetric", (("vaultlabel", "vaultvalue"),), "vaultunit")
VAULT_VALUE = 987654.25
FOREIGN = ("borealis", "vault", "987654")
"""What only the other tenant's rows hold."""


@dataclass(frozen=True)
class SqlTenant:
    """The login of aurora; borealis is the other one."""

    role: str
    conninfo: SecretStr

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """Yield a connection in autocommit mode that may write where it has the right."""
        with psycopg.connect(self.conninfo.get_secret_value(), autocommit=True) as connection:
            connection.execute("set default_transaction_read_only to off")
            yield connection


def fill(store: Store, delivery_store: DeliveryStore) -> None:
    """Give both tenants a day of everything that ``api`` shows; borealis has the vault beside it."""
    store.tenants.sync([AURORA, BOREALIS])
    for tenant in ("aurora", "borealis"):
        store.samples.write_window(tenant, "demo", DAY, **day_of_samples())  # type: ignore[arg-type]  # **: no types per name
        delivery_store.details.write(DetailBatch("agent-1", tenant, [Sample(LOAD1, after(1), 1.0)], after(60)))
    ts = axis(DAY, 60)
    store.samples.write_window(
        "borealis",
        "vault",
        DAY,
        series=[VAULT],
        index=np.zeros(len(ts), dtype=np.int64),
        ts=ts,
        values=np.full(len(ts), VAULT_VALUE),
        run_id="run-1",
    )
    delivery_store.details.write(DetailBatch("agent-2", "borealis", [Sample(VAULT, after(1), VAULT_VALUE)], after(60)))
    for tenant in ("aurora", "borealis"):
        store.rollups.hourly(tenant, DAY, "run-1", ("metric0", VAULT.metric))
        store.rollups.daily(tenant, DAY, "run-1", ("metric0", VAULT.metric))
    # Where samples can be compressed, they are: what is shown of them is found in another way then.
    rule = CompressionRule(after=timedelta(0), quiet=timedelta(0), patience=timedelta(0))
    store.compression.apply(rule, DAY.end + timedelta(days=7))


def login_url(database: SecretStr, role: str, password: str) -> SecretStr:
    """Return the address of a database for another role."""
    address = database.get_secret_value().rpartition("@")[2]
    return SecretStr(f"postgresql://{role}:{quote(password, safe='')}@{address}")


def seen(connection: psycopg.Connection, statements: Sequence[str]) -> str:
    """Run statements one by one; return all that came back: rows, notices, errors with all their parts."""
    found: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        parts = (diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint, diagnostic.context)
        found.extend(str(part) for part in parts if part)

    connection.add_notice_handler(note)
    try:
        for statement in statements:
            try:
                found.extend(answered(connection, statement))
            except psycopg.Error as error:
                note(error.diag)
    finally:
        connection.remove_notice_handler(note)
    return "\n".join(found)


def answered(connection: psycopg.Connection, statement: str) -> list[str]:
    """Return the rows that a statement answers with."""
    if " to stdout" in statement.lower() and statement.lower().startswith("copy"):
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            return [bytes(part).decode() for part in copy]
    cursor = connection.execute(statement.encode())
    return [] if cursor.description is None else [str(row) for row in cursor.fetchall()]


def foreign(text: str) -> list[str]:
    """Return the other tenant's words in a text."""
    return [word for word in FOREIGN if word in text]


def relations(connection: psycopg.Connection) -> list[str]:
    """Return the quoted names of all tables and views of the catalogues."""
    rows = connection.execute(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where c.relkind in ('r', 'v', 'm', 'p') and n.nspname in ('pg_catalog', 'information_schema') order by 1"
    )
    return [str(row[0]) for row in rows]


def workshop(database: SecretStr, role: str) -> None:
    """Give a role what the platform never gives: a schema of its own, functions in it and temporary objects."""
    with psycopg.connect(database.get_secret_value(), autocommit=True) as owner:
        name = sql.Identifier(database.get_secret_value().rsplit("/", 1)[1])
        grantee = sql.Identifier(role)
        owner.execute("create schema workshop")
        owner.execute(sql.SQL("grant all on schema workshop to {}").format(grantee))
        owner.execute(sql.SQL("grant temporary on database {} to {}").format(name, grantee))
