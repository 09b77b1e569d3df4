from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controlplane.env import PROJECT_DIR
from controlplane.quickstart.bootstrap import GATEWAY_TOKEN_FILE
from deploy.docker import secret_volumes
from deploy.docker.secret_volumes import SecretVolumes
from tests.deploy.compose_rules import SECRETS


def test_every_container_gets_the_secrets_it_needs(tmp_path: Path) -> None:
    volumes = _secret_volumes(tmp_path)
    secret_volumes.main(["make"], volumes)
    (volumes.control / GATEWAY_TOKEN_FILE).write_text("tgt_token")
    secret_volumes.main(["hand-out"], volumes)
    folders = ("control", "gateway", "triton", "postgres")
    made = {f"{name}-secrets": {file.name for file in (tmp_path / name).iterdir()} for name in folders}
    assert made == SECRETS
    assert (volumes.triton / "triton_control").read_bytes() == (volumes.control / "triton_control").read_bytes()
    password = (volumes.postgres / secret_volumes.PASSWORD_FILE).read_text()
    assert (volumes.control / secret_volumes.PGPASS).read_text() == f"*:*:*:*:{password}\n"
    assert {stat.S_IMODE(file.stat().st_mode) for file in volumes.gateway.iterdir()} == {0o600}
    assert stat.S_IMODE((volumes.triton / "triton_control").stat().st_mode) == 0o440


def test_secrets_are_made_once(tmp_path: Path) -> None:
    volumes = _secret_volumes(tmp_path)
    secret_volumes.make(volumes)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    (volumes.postgres / secret_volumes.PASSWORD_FILE).unlink()
    secret_volumes.make(volumes)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_the_gateway_reads_no_other_secrets() -> None:
    sources = (PROJECT_DIR / "controlplane" / "gateway").rglob("*.py")
    text = "\n".join(source.read_text() for source in sources)
    read = {part.partition('"')[0] for part in text.split('secrets.read("')[1:]}
    assert read == set(secret_volumes.GATEWAY_SECRETS)


def _secret_volumes(folder: Path) -> SecretVolumes:
    volumes = SecretVolumes(folder / "control", folder / "gateway", folder / "triton", folder / "postgres")
    for volume in (volumes.control, volumes.gateway, volumes.triton, volumes.postgres):
        volume.mkdir(mode=0o700)
    return volumes


def test_the_gateway_gets_nothing_before_its_token_exists(tmp_path: Path) -> None:
    volumes = _secret_volumes(tmp_path)
    secret_volumes.make(volumes)
    with pytest.raises(FileNotFoundError, match=GATEWAY_TOKEN_FILE):
        secret_volumes.hand_out(volumes)
    assert list(volumes.gateway.iterdir()) == []
