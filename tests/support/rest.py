"""Clients of the REST API, each with a real token of a real person."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.models import User
from controlplane.accounts.services import create_user, issue_token
from controlplane.audit.domain import system_actor

ACTOR = system_actor("tests")


def bearer(secret: str) -> APIClient:
    """A client that sends a token."""
    return APIClient(headers={"authorization": f"Bearer {secret}"})


def client_of(role: Role | str) -> APIClient:
    """A client with a token of a new person in a role."""
    name = f"{role or 'nobody'}-{User.objects.count()}"
    user = create_user(ACTOR, username=name, password="correct horse battery", role=Role.VIEWER)
    User.objects.filter(pk=user.pk).update(role=role)
    user.refresh_from_db()
    return bearer(issue_token(ACTOR, name="tests", scope=TokenScope.CONTROL, user=user).secret)


@pytest.fixture
def owner(db: None) -> APIClient:
    return client_of(Role.OWNER)


@pytest.fixture
def developer(db: None) -> APIClient:
    return client_of(Role.DEVELOPER)


@pytest.fixture
def viewer(db: None) -> APIClient:
    return client_of(Role.VIEWER)


def error_of(response: Any) -> dict[str, Any]:
    """The error of an answer, checked for its form."""
    assert response["Content-Type"] == "application/json", response.content
    body: dict[str, dict[str, Any]] = response.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["message"]
    assert "Traceback" not in response.content.decode()
    return error
