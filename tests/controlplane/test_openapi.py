"""The description of the REST API: complete, true, and readable without a network."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"


@pytest.fixture(scope="module")
def generated() -> str:
    output = io.StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=output)
    return output.getvalue()


@pytest.fixture(scope="module")
def operations(generated: str) -> dict[str, dict[str, Any]]:
    paths = yaml.safe_load(generated)["paths"]
    return {f"{method.upper()} {path}": about for path, methods in paths.items() for method, about in methods.items()}


def test_the_schema_in_the_repository_is_that_of_the_code(generated: str) -> None:
    written = SCHEMA_FILE.read_text(encoding="utf-8") if SCHEMA_FILE.exists() else ""

    assert written == generated, "run `make openapi`"


def test_operations_have_readable_names(operations: dict[str, dict[str, Any]]) -> None:
    names = {where: about["operationId"] for where, about in operations.items()}

    assert names["GET /api/models"] == "models_list"
    assert names["POST /api/models/{slug}/versions/{version}/publish"] == "versions_publish"
    assert names["POST /api/keys/{key_id}/revoke"] == "keys_revoke"
    assert all(re.fullmatch(r"[a-z]+_[a-z]+", name) for name in names.values()), names
    assert len(set(names.values())) == len(names)


def test_every_operation_is_described_with_its_errors(operations: dict[str, dict[str, Any]]) -> None:
    for where, about in operations.items():
        assert about["description"], where
        assert {"401", "403"} <= set(about["responses"]), where
        if "{" in where:
            assert "404" in about["responses"], where


def test_the_schema_is_served(client: Client) -> None:
    response = client.get("/api/schema/")

    assert response.status_code == 200
    assert "/api/models" in yaml.safe_load(response.content)["paths"]


def test_the_swagger_page_needs_nothing_from_elsewhere(client: Client, db: None) -> None:
    page = client.get("/api/docs/").content.decode()

    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(source.endswith("swagger-ui-bundle.js") for source in sources)
    for source in sources:
        assert source.startswith("/static/"), source
        response = client.get(source)
        assert response.status_code == 200, source
        response.close()
