"""Where the embedded stack lives, and what its processes inherit."""

from pathlib import Path

import pytest

from deploy.embedded import redis
from deploy.embedded.errors import StackError
from deploy.embedded.layout import SOCKET_PATH_LIMIT_BYTES, Layout, child_environment


def layout_in(folder: Path) -> Layout:
    return Layout.from_environment({"UP_STATE_DIR": str(folder)})


def test_the_state_folder_is_private(tmp_path: Path) -> None:
    layout = layout_in(tmp_path / "var")
    layout.make_state_dirs()
    assert layout.state_dir.stat().st_mode & 0o777 == 0o700
    assert layout.run_dir.stat().st_mode & 0o777 == 0o700


def test_a_socket_path_that_is_too_long_moves_to_a_private_temporary_folder(tmp_path: Path) -> None:
    short, long = layout_in(Path("/srv/var")), layout_in(tmp_path / ("x" * 100))
    assert short.redis_socket == Path("/srv/var/redis/redis.sock")
    assert len(str(long.redis_socket)) <= SOCKET_PATH_LIMIT_BYTES
    assert long.redis_socket == layout_in(tmp_path / ("x" * 100)).redis_socket
    assert long.redis_socket != layout_in(tmp_path / ("y" * 100)).redis_socket


def test_a_temporary_folder_that_others_can_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    layout = layout_in(tmp_path / ("x" * 100))
    layout.redis_socket.parent.mkdir(mode=0o755)
    with pytest.raises(StackError, match="must belong to you and be private"):
        layout.make_state_dirs()


def test_children_inherit_no_secret_of_the_shell() -> None:
    shell = {"PATH": "/bin", "HOME": "/root", "LANG": "C", "LC_ALL": "C", "TZ": "UTC", "AWS_SECRET_ACCESS_KEY": "s"}
    environment = child_environment({**shell, "GITHUB_TOKEN": "t", "PYTHONPATH": "/evil"}, Path("/venv"))
    assert environment["PATH"] == "/venv/bin:/bin"
    assert environment.keys() == {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "NO_PROXY", "no_proxy", "PYTHONUNBUFFERED"}


def test_a_proxy_of_the_shell_does_not_stand_between_the_parts() -> None:
    environment = child_environment({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "intra.example"}, Path("/venv"))
    assert environment["HTTP_PROXY"] == "http://proxy:3128"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intra.example,localhost,127.0.0.1,::1"


def test_redis_listens_on_its_socket_alone(tmp_path: Path) -> None:
    settings = redis.configuration(layout_in(tmp_path)).splitlines()
    assert "port 0" in settings
    assert f'unixsocket "{layout_in(tmp_path).redis_socket}"' in settings
    assert "unixsocketperm 700" in settings


def test_a_machine_without_redis_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"install one, or `make venv`"):
        redis.find_server(path=str(tmp_path), venv=tmp_path)


def test_a_redis_that_is_too_old_is_not_taken(tmp_path: Path) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=5.0.14 sha=0:0\n")
    old.chmod(0o755)
    with pytest.raises(StackError):
        redis.find_server(path=str(tmp_path), venv=tmp_path / "none")
