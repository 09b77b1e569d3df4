"""The one log: complete, bounded, and without secrets."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from deploy.embedded import logs
from deploy.embedded.logs import StackLog

Open = Callable[..., StackLog]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Open]:
    opened: list[StackLog] = []

    def open_one(terminal: TextIO | None = None, **options: int) -> StackLog:
        opened.append(StackLog(tmp_path / "stack.log", terminal, **options))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


def test_a_line_has_time_name_and_text(open_log: Open, tmp_path: Path) -> None:
    open_log().write("web", "started")
    (line,) = logs.tail(tmp_path / "stack.log", 10)
    date, time, name, text = line.split()
    assert (len(date), len(time), name, text) == (10, 12, "web", "started")


def test_the_log_is_rotated_by_size_and_old_files_go(open_log: Open, tmp_path: Path) -> None:
    log = open_log(max_file_bytes=1_000)
    for number in range(500):
        log.write("web", f"line {number} {'x' * 100}")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["stack.log", *(f"stack.log.{number}" for number in range(1, logs.KEPT_FILES + 1))]
    assert all(path.stat().st_size < 1_200 for path in tmp_path.iterdir())
    assert "line 499" in (tmp_path / "stack.log").read_text() + (tmp_path / "stack.log.1").read_text()


def test_secrets_appear_neither_in_the_file_nor_on_the_terminal(open_log: Open, tmp_path: Path) -> None:
    terminal = io.StringIO()
    log = open_log(terminal)
    log.hide(["correct horse", "correct horse battery"])
    log.write("web", "password: correct horse battery!")
    for written in ((tmp_path / "stack.log").read_text(), terminal.getvalue()):
        assert "password: ***!" in written


def test_short_values_are_not_taken_for_secrets(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.hide(["", "admin"])
    log.write("web", "the admin site")
    assert "the admin site" in (tmp_path / "stack.log").read_text()


def test_the_secrets_of_a_state_folder_are_known(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("pepper-value\n")
    (tmp_path / "snapshot_key.pem").write_text("-----BEGIN-----\nprivate-bytes\n-----END-----\n")
    (tmp_path / "snapshot_public.pem").write_text("public-bytes\n")
    quickstart = {
        "ADMIN_USER": "somebody",
        "ADMIN_PASSWORD": "p",
        "API_KEY": "k",
        "ADMIN_TOKEN": "t",
        "GATEWAY_URL": "u",
    }
    found = set(logs.secrets_in(tmp_path, quickstart))
    assert {"pepper-value", "private-bytes", "p", "k", "t"} <= found
    assert not {"public-bytes", "somebody", "u"} & found


def test_an_env_file_is_read_without_comments_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "quickstart.env"
    path.write_text("# keep this\nA=1\nB='two words'\nC=x=y\n\n")
    assert logs.read_env_file(path) == {"A": "1", "B": "two words", "C": "x=y"}
    assert logs.read_env_file(tmp_path / "missing") == {}
