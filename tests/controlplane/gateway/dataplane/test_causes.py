import grpc
import pytest

from controlplane.gateway.dataplane.causes import cause_of_grpc, cause_of_http
from controlplane.wire.usage import Cause


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (200, "", Cause.OK),
        (400, "unexpected shape", Cause.REQUEST),
        (404, "Request for unknown model: 'm' is not found", Cause.MODEL),
        (500, "failed to parse the request JSON buffer: Invalid value. at 1", Cause.REQUEST),
        (500, "Unable to parse 'data': Shape does not match true shape of 'data' field", Cause.REQUEST),
        (500, "the model raised", Cause.MODEL),
        (503, "Exceeds maximum queue size", Cause.MODEL),
    ],
)
def test_only_what_is_the_models_doing_counts_against_it(status: int, error: str, cause: Cause) -> None:
    assert cause_of_http(status, error) is cause


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_grpc_status_has_a_cause(code: grpc.StatusCode) -> None:
    expected = {"OK": Cause.OK, "CANCELLED": Cause.CLIENT}
    for name in ("INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"):
        expected[name] = Cause.REQUEST

    assert cause_of_grpc(code.value[0]) is expected.get(code.name, Cause.MODEL)
