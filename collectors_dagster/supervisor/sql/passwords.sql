-- Runs in single-user mode when the secret files, or these rights, differ from what the cluster was given, one statement a line.
alter role postgres password '$postgres';
alter role collectors createrole password '$collectors';
alter role dagster password '$dagster';
alter role mlflow password '$mlflow';
revoke connect, temporary on database collectors from public;
revoke connect, temporary on database dagster from public;
revoke connect, temporary on database mlflow from public;
revoke connect, temporary on database postgres from public;
revoke connect, temporary on database template1 from public;
