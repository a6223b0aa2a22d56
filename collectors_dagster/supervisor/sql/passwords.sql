-- Runs in single-user mode when the secret files differ from what the cluster was given, one statement a line.
alter role postgres password '$postgres';
alter role collectors password '$collectors';
alter role dagster password '$dagster';
alter role mlflow password '$mlflow';
