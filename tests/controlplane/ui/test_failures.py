"""An error nobody foresaw."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from controlplane.ui.failures import server_error


@pytest.mark.parametrize("path", ["/api/models", "/internal/snapshot", "/ready"])
def test_a_program_gets_json_without_a_trace(path: str) -> None:
    answer = server_error(RequestFactory().get(path))
    assert answer.status_code == 500
    assert b'"code": "internal"' in answer.content
    assert b"Traceback" not in answer.content


def test_a_person_gets_a_page() -> None:
    answer = server_error(RequestFactory().get("/admin/"))
    assert answer.status_code == 500
    assert b"<html" in answer.content
