"""``python -m deploy.embedded up|down|status|logs|reset``: the embedded stack from the command line."""

from __future__ import annotations

import argparse
import os
import sys

from deploy.embedded import commands
from deploy.embedded.errors import StackError
from deploy.embedded.layout import Layout


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="deploy.embedded", description="The whole product on one machine.")
    subcommands = parser.add_subparsers(dest="command", required=True)
    subcommands.add_parser("up", help="start everything").add_argument("--detach", action="store_true")
    subcommands.add_parser("serve", help="run the supervisor without a terminal")
    subcommands.add_parser("down", help="stop everything")
    subcommands.add_parser("status", help="show the processes")
    subcommands.add_parser("logs", help="follow the log")
    subcommands.add_parser("reset", help="remove all state").add_argument("--force", action="store_true")
    subcommands.add_parser("preflight", help="look whether the stack can run here")
    return parser.parse_args(arguments)


def run(asked: argparse.Namespace, layout: Layout) -> int:
    """Does what was asked and returns the exit status."""
    match asked.command:
        case "up":
            return commands.up(layout, detach=asked.detach)
        case "serve":
            return commands.serve(layout, terminal=None)
        case "down":
            return commands.down(layout)
        case "status":
            return commands.status(layout)
        case "logs":
            return commands.follow_logs(layout)
        case "reset":
            return commands.reset(layout, force=asked.force)
        case _:
            return commands.preflight_only(layout)


def main() -> int:
    """Runs one command; what the operator has to change is printed in a sentence, without a traceback."""
    # Whatever any process of the stack writes is its owner's alone.
    os.umask(0o077)
    try:
        return run(parse(), Layout.from_environment())
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
