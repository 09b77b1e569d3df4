"""TLS in front of everything, by option."""

import datetime
import json
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.gateway import Gateway, orders_for
from tests.support.triton import TritonServer

_BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def test_everything_works_over_tls(
    start_gateway: Callable[..., Gateway], echo_triton: TritonServer, certificate: tuple[Path, Path]
) -> None:
    files = {"GATEWAY_TLS_CERTIFICATE": str(certificate[0]), "GATEWAY_TLS_KEY": str(certificate[1])}
    gateway = start_gateway(*orders_for(echo_triton), **files)
    key = gateway.new_key()
    context = ssl.create_default_context(cafile=str(certificate[0]))
    size = 8 * 2**20
    tensor = {"name": "x", "shape": [1, size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    url = f"https://localhost:{gateway.http_port}"
    with httpx.Client(verify=context, base_url=url, headers=key.header, trust_env=False) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert client.post("/v2/models/echo/infer", json=_BODY).json()["model_name"] == "echo"
        lengths = {"Inference-Header-Content-Length": str(len(text))}
        large = client.post("/v2/models/echo/infer", content=text + bytes(size), headers=lengths)
        assert len(large.content) > size
        refused = client.post("/v2/models/echo/infer", content=iter([b"[" * 70_000_000]))
        assert refused.status_code == 413
        assert client.post("/v2/models/echo/infer", json=_BODY).status_code == 200

    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{gateway.http_port}/v2/health/live", trust_env=False)
