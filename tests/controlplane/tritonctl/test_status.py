import json

from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.web import Web


def test_status_says_what_works_and_what_does_not(tritonctl: Tritonctl, web: Web) -> None:
    outcome = tritonctl("status", "--json")

    status = json.loads(outcome.stdout)
    assert (status["control_url"], status["ready"]) == (web.url, False)
    assert (status["dependencies"]["database"], status["dependencies"]["redis"] != "ok") == ("ok", True)
    assert (status["user"]["username"], status["user"]["role"]) == ("owner", "owner")
    assert [(server["name"], server["health"]) for server in status["servers"]] == [("t1", "unknown")]
    assert isinstance(status["models_count"], int)
    # This control plane has no Redis: it is not ready, and scripts see it by the exit status.
    assert (outcome.error["code"], "redis" in outcome.error["message"]) == ("not_ready", True)


def test_status_is_readable(tritonctl: Tritonctl, web: Web) -> None:
    outcome = tritonctl("status")

    assert outcome.status == 1
    assert f"{web.url} is not ready" in outcome.stdout
    assert "owner, owner" in outcome.stdout
    assert "t1" in outcome.stdout
    assert "redis" in outcome.stderr
