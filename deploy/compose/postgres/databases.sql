-- One database for each of what keeps state in Postgres; run once, when the volume is empty.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
CREATE DATABASE feast;
