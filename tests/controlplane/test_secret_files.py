"""The secrets of a new control plane."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controlplane.env import SecretFiles
from controlplane.secret_files import init_secrets


def test_secrets_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    written = init_secrets(directory)
    keys = {f"{owner}_{half}.pem" for owner in ("snapshot", "publisher") for half in ("key", "public")}
    assert set(written) == {"secret_key", "pepper", "triton_control"} | keys
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert init_secrets(directory) == []
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_two_control_planes_share_no_secret(tmp_path: Path) -> None:
    init_secrets(tmp_path / "a")
    init_secrets(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() != (tmp_path / "b" / path.name).read_bytes()


def test_a_missing_secret_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m controlplane\.secret_files"):
        SecretFiles(tmp_path).read("pepper")
