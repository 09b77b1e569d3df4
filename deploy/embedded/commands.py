"""What the operator can ask of the embedded stack: up, down, status, logs, reset."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from deploy.embedded import logs, pidfiles, preflight, procfs, supervisor
from deploy.embedded.errors import StackError
from deploy.embedded.layout import PROJECT_DIR, Layout, supervisor_environment
from deploy.embedded.logs import StackLog
from deploy.embedded.pidfiles import Record
from deploy.embedded.stack import EmbeddedStack
from deploy.embedded.supervisor import Phase, Supervisor

DOWN_TIMEOUT_S = 150.0
LEFTOVER_TIMEOUT_S = 15.0
LOG_LINES_ON_FAILURE = 40


@contextmanager
def stack_lock(layout: Layout) -> Iterator[bool]:
    """Holds the lock of a state folder; yields False where another supervisor holds it."""
    layout.make_state_dirs()
    with (layout.run_dir / "lock").open("w") as file:
        try:
            # The kernel gives it back whatever way the holder ends, and children do not inherit it.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def running_supervisor(layout: Layout) -> Record | None:
    """The supervisor of this state folder, if it is alive."""
    record = pidfiles.read(pidfiles.path_for(layout.run_dir, supervisor.SUPERVISOR))
    return record if record is not None and record.leader_is_alive() else None


def check_machine(layout: Layout) -> None:
    """Says everything about this machine that keeps the stack from running.

    Raises:
        StackError: something does.
    """
    _refuse(preflight.machine_problems(layout))


def check_ports(layout: Layout) -> None:
    """Says which ports are taken; only call it when nothing of this stack runs.

    Raises:
        StackError: one is.
    """
    _refuse(preflight.port_problems(layout.ports.all()))


def _refuse(problems: Iterator[str]) -> None:
    if found := list(problems):
        raise StackError("\nerror: ".join(found))


def preflight_only(layout: Layout) -> int:
    """`preflight`: the checks of `up`, before there are environments to run it."""
    check_machine(layout)
    with stack_lock(layout) as mine:
        if mine:
            _remove_leftovers(layout)
            check_ports(layout)
    return 0


def up(layout: Layout, *, detach: bool) -> int:
    """`up`: brings the stack up and keeps it running, or with `detach` returns when it is healthy."""
    if running_supervisor(layout) is not None:
        print("The stack is already running.")
        return _follow_start(layout, None)
    if detach:
        return _up_detached(layout)
    return serve(layout, terminal=sys.stdout)


def serve(layout: Layout, terminal: TextIO | None) -> int:
    """Runs the supervisor in this process until it is told to stop."""
    check_machine(layout)
    with stack_lock(layout) as mine:
        if not mine:
            raise StackError("Another supervisor holds this state folder: see `make status`.")
        _remove_leftovers(layout)
        check_ports(layout)
        stack = EmbeddedStack(layout)
        log = StackLog(layout.log, terminal)
        _hide_secrets(layout, log)
        came_up = asyncio.run(_supervise(stack, log, terminal))
        stack.remove_triton_leftovers()
        log.close()
    return 0 if came_up else 1


async def _supervise(stack: EmbeddedStack, log: StackLog, terminal: TextIO | None) -> bool:
    running = Supervisor(
        stack.stages(), stack.layout.run_dir, log, before_stage=lambda: _hide_secrets(stack.layout, log)
    )
    return await running.run(lambda: print_summary(stack) if terminal is not None else None)


def _hide_secrets(layout: Layout, log: StackLog) -> None:
    log.hide(logs.secrets_in(layout.secrets_dir, logs.read_env_file(layout.quickstart_env)))


def _remove_leftovers(layout: Layout) -> None:
    if stopped := supervisor.stop_leftovers(layout.run_dir, LEFTOVER_TIMEOUT_S):
        print(f"Stopped what an earlier run left behind: {', '.join(stopped)}.")
    EmbeddedStack(layout).remove_triton_leftovers()


def _up_detached(layout: Layout) -> int:
    layout.make_state_dirs()
    supervisor.status_path(layout.run_dir).unlink(missing_ok=True)
    command = [str(layout.python), "-m", "deploy.embedded", "serve"]
    # What it says before its log exists (a taken port) goes to the terminal of whoever called.
    early = layout.run_dir / "serve.out"
    with early.open("w") as output:
        process = subprocess.Popen(
            command,
            env=supervisor_environment(os.environ, layout.venv),
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    code = _follow_start(layout, process)
    if code and (said := early.read_text().strip()):
        print(said, file=sys.stderr)
    return code


def _follow_start(layout: Layout, process: subprocess.Popen[bytes] | None) -> int:
    """Prints the progress of a starting supervisor; returns 0 when the stack is healthy, 1 when it ended."""
    shown = ""
    while True:
        status = supervisor.read_status(layout.run_dir)
        if status is not None and status.phase is Phase.READY:
            print_summary(EmbeddedStack(layout))
            return 0
        if status is not None and status.phase is Phase.STARTING and status.doing != shown:
            shown = status.doing
            print(f"  {shown} ...", flush=True)
        ended = process.poll() is not None if process is not None else running_supervisor(layout) is None
        if ended:
            return _explain_failure(layout)
        time.sleep(pidfiles.POLL_S)


def _explain_failure(layout: Layout) -> int:
    status = supervisor.read_status(layout.run_dir)
    if status is not None:
        print(f"\nThe last lines of {layout.log}:", file=sys.stderr)
        print("\n".join(logs.tail(layout.log, LOG_LINES_ON_FAILURE)), file=sys.stderr)
        print(f"\nerror: the stack did not come up: {status.doing}", file=sys.stderr)
    return 1


def print_summary(stack: EmbeddedStack) -> None:
    """Prints, to the terminal alone, where everything is and how to use it."""
    known = logs.read_env_file(stack.layout.quickstart_env)
    rows = {
        "Admin site": f"{known.get('CONTROL_URL', '')}/admin/",
        "  user": known.get("ADMIN_USER", ""),
        "  password": known.get("ADMIN_PASSWORD", ""),
        "REST API": f"{known.get('CONTROL_URL', '')}/api/docs/",
        "Gateway HTTP": known.get("GATEWAY_URL", ""),
        "Gateway gRPC": known.get("GATEWAY_GRPC", ""),
        "Triton": known.get("TRITON_URL", ""),
        "Credentials": str(stack.layout.quickstart_env),
        "Log": str(stack.layout.log),
    }
    print("\nThe stack is up.\n")
    print("\n".join(f"  {label:<14} {value}" for label, value in rows.items()))
    launch = stack.manage("snippets", "--quickstart-env", str(stack.layout.quickstart_env))
    snippets = subprocess.run(
        launch.command, env=dict(launch.environment), cwd=launch.directory, capture_output=True, text=True, check=False
    )
    print(f"\n{snippets.stdout}" if snippets.returncode == 0 else "", flush=True)


def down(layout: Layout) -> int:
    """`down`: stops every process of the stack, also after its supervisor was killed."""
    if not layout.run_dir.is_dir():
        print("The stack is not running.")
        return 0
    if (record := running_supervisor(layout)) is not None:
        pidfiles.send([record.identity.pid], signal.SIGTERM)
        if not supervisor.wait_until_gone(record, DOWN_TIMEOUT_S):
            pidfiles.kill(record)
    with stack_lock(layout) as mine:
        if not mine:
            raise StackError("A stack is just starting in this state folder: run `make down` again.")
        _remove_leftovers(layout)
    print("The stack is stopped.")
    return 0


def status(layout: Layout) -> int:
    """`status`: a table of the processes; 0 when everything is ready, 3 when not running, 1 otherwise."""
    found = supervisor.read_status(layout.run_dir)
    if running_supervisor(layout) is None or found is None:
        left = [record.name for record in pidfiles.read_all(layout.run_dir) if record.members()]
        print("The stack is not running.", f"Left behind: {', '.join(left)}; `make down` stops them." if left else "")
        return 3
    print(f"The stack is {found.phase}: {found.doing}\n")
    print(f"{'PROCESS':<12}{'PID':>9}  {'STATE':<20}{'UPTIME':>10}  {'RESTARTS':>8}  PORTS")
    for row in found.processes:
        uptime = _duration(procfs.uptime_s(row.start_ticks)) if row.start_ticks and row.state == "ready" else "-"
        ports = ", ".join(str(port) for port in row.ports) or "-"
        print(f"{row.name:<12}{row.pid or '-':>9}  {row.state:<20}{uptime:>10}  {row.restarts:>8}  {ports}")
    return 0 if found.phase is Phase.READY and all(row.state == "ready" for row in found.processes) else 1


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def follow_logs(layout: Layout) -> int:
    """`logs`: shows the log and what is added to it."""
    if not layout.log.exists():
        print("There is no log yet: `make up` writes it.")
        return 1
    # tail -F goes on behind a rotation.
    try:
        return subprocess.run(["tail", "-n", "200", "-F", str(layout.log)], check=False).returncode
    except KeyboardInterrupt:
        return 0


def _confirmed() -> bool:
    try:
        return input("Type yes to go on: ").strip() == "yes"
    except EOFError:
        return False


def reset(layout: Layout, *, force: bool) -> int:
    """`reset`: removes the state of the stack, but not Triton's environment, after asking."""
    with stack_lock(layout) as mine:
        if not mine:
            raise StackError("The stack is running: run `make down` first.")
        _remove_leftovers(layout)
        kept = {layout.triton_env, layout.state_dir / "tools"}
        doomed = [entry for entry in layout.state_dir.iterdir() if entry not in kept]
        print(f"This removes the database, keys, models and logs in {layout.state_dir}.")
        if not force and not _confirmed():
            print("Nothing was removed. Without a terminal, say FORCE=1.")
            return 1
        for entry in doomed:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    if layout.redis_socket.parent != layout.redis_dir:
        shutil.rmtree(layout.redis_socket.parent, ignore_errors=True)
    print("Removed. `make up` starts anew.")
    return 0
