-- Runs once, in single-user mode, one statement a line: the roles, and the database that each owns.
create role collectors login createrole password '$collectors';
create role dagster login password '$dagster';
create role mlflow login password '$mlflow';
create database collectors owner collectors;
create database dagster owner dagster;
create database mlflow owner mlflow;
revoke connect, temporary on database collectors from public;
revoke connect, temporary on database dagster from public;
revoke connect, temporary on database mlflow from public;
revoke connect, temporary on database postgres from public;
revoke connect, temporary on database template1 from public;
