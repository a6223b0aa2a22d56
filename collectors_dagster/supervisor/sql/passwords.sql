-- Runs in single-user mode when the secret files, or these rights, differ from what the cluster was given, one statement a line.
alter role postgres password '$postgres';
alter role collectors createrole password '$collectors';
alter role dagster password '$dagster';
alter role mlflow password '$mlflow';
