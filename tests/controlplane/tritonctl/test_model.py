from controlplane.tritonctl.client import PAGE_SIZE
from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.web import Web


def test_models_are_listed_as_the_api_shows_them(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    models = tritonctl("model", "list", "--search", name, "--json").json

    assert [(model["model_id"], model["versions_count"], model["aliases"]) for model in models] == [(name, 1, {})]


def test_every_page_is_listed(tritonctl: Tritonctl, web: Web) -> None:
    for number in range(PAGE_SIZE + 1):
        web.call("POST", "/api/models", json={"slug": f"many-{number:03}"})

    models = tritonctl("model", "list", "--search", "many-", "--json").json

    assert [model["slug"] for model in models] == [f"many-{number:03}" for number in range(PAGE_SIZE + 1)]


def test_text_of_a_model_is_printed_and_not_obeyed(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()
    web.call("PATCH", f"/api/models/{name}", json={"title": "[red]\x1b[2Jgone[/red]"})

    outcome = tritonctl("model", "list", "--search", name)

    assert outcome.status == 0
    assert "\x1b" not in outcome.stdout
    assert "[red]\\x1b[2Jgone[/red]" in outcome.stdout


def test_no_models_is_said_in_words(tritonctl: Tritonctl) -> None:
    assert tritonctl("model", "list", "--search", "no-such-model").stdout == "There are no models.\n"
