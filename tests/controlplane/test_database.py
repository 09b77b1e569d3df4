"""Database URLs."""

from __future__ import annotations

import pytest

from controlplane.database import database_from_url


def test_a_postgres_url_is_read_with_escapes_and_options() -> None:
    settings = database_from_url("postgres://me:p%40ss@db.example:5433/control?sslmode=require")
    assert (settings["HOST"], settings["PORT"], settings["NAME"]) == ("db.example", "5433", "control")
    assert (settings["USER"], settings["PASSWORD"]) == ("me", "p@ss")
    assert settings["OPTIONS"] == {"sslmode": "require"}


def test_a_postgres_url_may_name_a_socket_folder() -> None:
    assert database_from_url("postgresql:///control?host=%2Frun%2Fpostgresql")["HOST"] == "/run/postgresql"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/control.sqlite3", "sqlite:///var/lib/control.sqlite3"])
def test_a_sqlite_url_always_names_an_absolute_path(url: str) -> None:
    settings = database_from_url(url)
    assert settings["NAME"] == "/var/lib/control.sqlite3"
    assert settings["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_an_unknown_url_is_refused_without_repeating_its_password() -> None:
    with pytest.raises(ValueError, match="must begin with postgres") as refusal:
        database_from_url("mysql://me:secret@db/control")
    assert "secret" not in str(refusal.value)
