from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.web import Web


def test_versions_are_listed_newest_first(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version("1.0.0")
    web.add_version("1.1.0", slug=name)

    versions = tritonctl("version", "list", name, "--json").json

    assert [(version["version"], version["number"], version["state"]) for version in versions] == [
        ("1.1.0", 2, "validated"),
        ("1.0.0", 1, "validated"),
    ]
    text = tritonctl("version", "list", name).stdout
    assert text.index("1.1.0") < text.index("1.0.0")
    assert "accuracy 0.97" in text


def test_an_unknown_model_is_named(tritonctl: Tritonctl) -> None:
    error = tritonctl("version", "list", "nothing", "--json").error
    assert (error["code"], "nothing" in error["message"]) == ("model.not_found", True)

    outcome = tritonctl("version", "list", "nothing")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr == "Error: There is no model 'nothing'. (model.not_found)\n"
