import io
import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.registry.models import ModelVersion
from tests.support.models import imported_version, registered_model, scaling_graph, scaling_sample
from tests.support.rest import error_of


def upload(client: APIClient, slug: str = "digits", **fields: Any) -> Any:
    body = {"semver": "1.0.0", "file": io.BytesIO(scaling_graph()), **fields}
    kept = {name: value for name, value in body.items() if value is not None}
    return client.post(f"/api/models/{slug}/versions", kept, format="multipart")


def test_an_uploaded_version_is_inspected_and_described(owner: APIClient) -> None:
    registered_model("digits")

    response = upload(
        owner,
        metrics=json.dumps({"accuracy": 0.97}),
        golden=json.dumps([scaling_sample()]),
        dataset_notes="8x8 digits",
    )

    assert response.status_code == 201, response.content
    version = response.json()
    assert (version["version"], version["number"], version["state"]) == ("1.0.0", 1, "validated")
    assert (version["model"], version["triton_name"]) == ("digits", "digits.v1")
    assert (version["metrics"], version["dataset_notes"]) == ({"accuracy": 0.97}, "8x8 digits")
    assert [(tensor["name"], tensor["shape"]) for tensor in version["inputs"]] == [("x", [-1, 4])]
    assert 'name: "digits.v1"' in version["config"]
    assert [(file["path"], file["size_bytes"]) for file in version["files"]] == [("model.onnx", len(scaling_graph()))]
    assert len(version["digest"]) == 64
    assert ModelVersion.objects.get().golden_samples.count() == 1


def test_files_beside_the_graph_keep_their_names(owner: APIClient) -> None:
    registered_model("digits")
    labels = io.BytesIO(b"zero\none\n")
    labels.name = "labels.txt"

    response = upload(owner, extra_files=[labels])

    assert response.status_code == 201, response.content
    assert [file["path"] for file in response.json()["files"]] == ["labels.txt", "model.onnx"]


def test_a_broken_graph_is_refused_with_findings(owner: APIClient) -> None:
    registered_model("digits")

    response = upload(owner, file=io.BytesIO(b"this is no ONNX"))

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "artifact.refused"
    assert error["details"]["findings"]
    assert error["details"]["findings"][0]["severity"] == "error"
    failed = owner.get("/api/models/digits/versions", {"state": "failed"}).json()["results"]
    assert [version["version"] for version in failed] == ["1.0.0"]


def test_a_sample_that_does_not_fit_the_graph_is_refused(owner: APIClient) -> None:
    registered_model("digits")
    sample = scaling_sample()
    sample["inputs"][0]["name"] = "other"

    response = upload(owner, golden=json.dumps([sample]))

    assert response.status_code == 400
    assert [finding["code"] for finding in error_of(response)["details"]["findings"]] == ["golden.inputs"]


def test_versions_never_change(owner: APIClient) -> None:
    imported_version("digits")

    response = upload(owner)

    assert response.status_code == 409
    assert error_of(response)["code"] == "version.exists"


@pytest.mark.parametrize("semver", ["1", "v1.0.0", "1.0", "01.0.0", "latest", "1.0.0 beta"])
def test_a_version_must_be_semantic(owner: APIClient, semver: str) -> None:
    registered_model("digits")

    response = upload(owner, semver=semver)

    assert response.status_code == 400
    assert error_of(response)["code"] == "name.invalid"
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"file": None}, "file"),
        ({"file": io.BytesIO(b"")}, "file"),
        ({"file": "no file but text"}, "file"),
        ({"semver": None}, "semver"),
        ({"metrics": "{"}, "metrics"),
        ({"metrics": "[1]"}, "metrics"),
        ({"metrics": '{"loss": NaN}'}, "metrics"),
        ({"metrics": '{"loss": 1e999}'}, "metrics"),
        ({"metrics": '{"note": "\\u0000"}'}, "metrics"),
        ({"metrics": '{"note": "\\ud800"}'}, "metrics"),
        ({"golden": "[" * 100_000}, "golden"),
        ({"golden": "{}"}, "golden"),
        ({"golden": "[1]"}, "golden"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_refused_upload_names_the_field(owner: APIClient, fields: dict[str, Any], field: str) -> None:
    registered_model("digits")

    response = upload(owner, **fields)

    assert response.status_code == 400
    assert field in error_of(response)["details"]
    assert not ModelVersion.objects.exists()


def test_a_malformed_sample_is_refused(owner: APIClient) -> None:
    registered_model("digits")

    response = upload(owner, golden=json.dumps([{"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]}]))

    assert response.status_code == 400
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize("names", [("model.onnx",), ("a.bin", "a.bin"), (".hidden",)])
def test_extra_files_cannot_take_anothers_place(owner: APIClient, names: tuple[str, ...]) -> None:
    registered_model("digits")
    files = []
    for name in names:
        files.append(io.BytesIO(b"x"))
        files[-1].name = name

    response = upload(owner, extra_files=files)

    assert response.status_code == 400
    assert error_of(response)["message"]
    assert not ModelVersion.objects.exists()


def test_a_version_comes_as_a_form_or_as_json(owner: APIClient) -> None:
    registered_model("digits")

    response = owner.post("/api/models/digits/versions", b"<version/>", content_type="application/xml")

    assert response.status_code == 415
    assert error_of(response)["code"] == "unsupported_media_type"


def test_a_form_that_is_cut_off_is_refused(owner: APIClient) -> None:
    registered_model("digits")

    response = owner.post(
        "/api/models/digits/versions",
        b"--x\r\nContent-Disposition: form-d",
        content_type="multipart/form-data; boundary=",
    )

    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_request"


def test_a_form_with_too_many_files_is_refused(owner: APIClient) -> None:
    registered_model("digits")
    files = [io.BytesIO(b"x") for _ in range(101)]

    response = upload(owner, extra_files=files)

    assert response.status_code == 400
    assert error_of(response)["code"] == "invalid_request"


def test_a_viewer_does_not_upload(viewer: APIClient) -> None:
    registered_model("digits")

    response = upload(viewer)

    assert response.status_code == 403
    assert error_of(response)["code"] == "permission.missing"


def test_a_list_of_versions_costs_the_same_queries_however_long_it_is(
    owner: APIClient, django_assert_num_queries: Any
) -> None:
    owner.get("/api/models")
    for patch in range(3):
        imported_version("digits", f"1.0.{patch}")

    # the token, the model and its aliases, the count, the versions, their aliases
    with django_assert_num_queries(6):
        versions = owner.get("/api/models/digits/versions").json()["results"]

    assert [version["version"] for version in versions] == ["1.0.2", "1.0.1", "1.0.0"]
