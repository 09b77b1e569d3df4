import pytest

from controlplane.gateway.dataplane.targets import Endpoint, Target, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (b"/v2", Target(Endpoint.SERVER_METADATA)),
        (b"/v2/health/live", Target(Endpoint.LIVE)),
        (b"/v2/health/ready?x=1", Target(Endpoint.READY)),
        (b"/v2/models/m", Target(Endpoint.MODEL_METADATA, "m")),
        (b"/v2/models/m/config", Target(Endpoint.MODEL_CONFIG, "m")),
        (b"/v2/models/m/versions/3/ready", Target(Endpoint.MODEL_READY, "m", "3")),
        (b"/v2/models/m/infer?a=b%2F", Target(Endpoint.INFER, "m")),
        (b"/v2/models/m%40champion/infer", Target(Endpoint.INFER, "m@champion")),
        (b"/v2%2Fmodels/m/infer", Target(Endpoint.INFER, "m")),
        (b"/v2/models/m%2540/infer", Target(Endpoint.INFER, "m%40")),
        (b"/v2/models/m/generate", Target(Endpoint.GENERATE, "m")),
        (b"/v2/models/m/versions/3/generate_stream", Target(Endpoint.GENERATE_STREAM, "m", "3")),
        (b"/v2/models/m/stats", Target(Endpoint.MODEL_STATISTICS, "m")),
        (b"/v1/models", Target(Endpoint.CARDS)),
        (b"/v1/models/m%40prod", Target(Endpoint.CARD, "m@prod")),
        (b"/v1/models/m/predict", Target(Endpoint.PREDICT, "m")),
        (b"/v1/models/m/versions/1.0.0/predict", Target(Endpoint.PREDICT, "m", "1.0.0")),
        (b"/v1/models/m/infer", Target(Endpoint.UNKNOWN)),
        (b"/v1/models//predict", Target(Endpoint.UNKNOWN)),
        (b"/v2/models/stats", Target(Endpoint.ALL_STATISTICS)),
        (b"/v2/models/m/trace/setting", Target(Endpoint.FORBIDDEN, "m", None, "Trace settings")),
        (b"/v2/repository/models/m/load", Target(Endpoint.FORBIDDEN, what="Repository control")),
        (b"/v2/%72epository/models/m/load", Target(Endpoint.FORBIDDEN, what="Repository control")),
        (b"/v2/logging", Target(Endpoint.FORBIDDEN, what="Log settings")),
    ],
)
def test_a_path_is_decoded_once_and_then_matched_by_whole_segments(url: bytes, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        b"/",
        b"//v2/models/m",
        b"/v2/models/",
        b"/v2/models//infer",
        b"/v2/models/m/../n/infer",
        b"/v2/models/m/versions/x/infer",
        b"/v2/models/m/versions/-1/infer",
        b"/v2/models/m/versions/1234567890/infer",
        "/v2/models/m/versions/²/infer".encode(),
        b"/v2/models/m/versions",
        b"/v2/models/m/infer/more",
        b"/v2/models/\xff/infer",
        b"/v2/models/" + b"a" * 60_000 + b"/none",
    ],
)
def test_everything_else_is_unknown(url: bytes) -> None:
    assert parse_target(url).endpoint is Endpoint.UNKNOWN
