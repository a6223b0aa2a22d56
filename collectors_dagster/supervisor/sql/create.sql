-- Runs once, in single-user mode, one statement a line: the roles, and the database that each owns.
create role collectors login createrole password '$collectors';
create role dagster login password '$dagster';
create role mlflow login password '$mlflow';
create database collectors owner collectors;
create database dagster owner dagster;
create database mlflow owner mlflow;
