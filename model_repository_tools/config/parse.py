"""Reading config.pbtxt, with findings instead of exceptions."""

from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from model_repository_tools.findings import Finding

MAX_CONFIG_BYTES = 1 << 20
_PATH = "config.pbtxt"


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """`message` is NVIDIA's `inference.ModelConfig`, or None where the text is not one."""

    message: Any | None
    findings: tuple[Finding, ...] = ()


def parse_config(text: str, *, triton_name: str | None = None, version_number: int | None = None) -> ParsedConfig:
    """Read config.pbtxt as NVIDIA's schema does; what is wrong comes back as findings.

    Args:
        text: The whole file; at most 1 MiB of it.
        triton_name: If given, the name in the text must be this one.
        version_number: If given, the version policy must name exactly this version.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_CONFIG_BYTES:
        return ParsedConfig(None, (_finding("too_large", _PATH, f"is larger than {MAX_CONFIG_BYTES} bytes"),))
    try:
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
    except (text_format.ParseError, ValueError, RecursionError) as error:
        reason = str(error)[:300] or "it is nested too deeply"
        return ParsedConfig(None, (_finding("malformed", _PATH, f"does not fit Triton's schema: {reason}"),))
    findings = []
    if triton_name is not None and message.name != triton_name:
        findings.append(
            _finding("name", "name", f"names the model {message.name!r:.100}, its folder is {triton_name!r}")
        )
    versions = list(message.version_policy.specific.versions)
    if version_number is not None and versions != [version_number]:
        findings.append(_finding("version_policy", "version_policy", f"must be specific: exactly {version_number}"))
    return ParsedConfig(message, tuple(findings))


def _finding(kind: str, path: str, problem: str) -> Finding:
    return Finding(f"config.{kind}", path, f"config.pbtxt {problem}", "let `model-repository config` write it")
