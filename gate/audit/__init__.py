"""The record: a chain of rows in SQLite, written before anything opens."""
