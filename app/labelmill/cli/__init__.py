"""The command line: a file a command; typer and rich are imported here alone."""

import sys


def main() -> None:
    """Run ``labelmill``.

    Raises:
        SystemExit: the light installation has no command line; the message says how to get it.
    """
    if sys.argv[1:2] == ["health"]:
        from labelmill.cli.probe import finds_ready

        if finds_ready(sys.argv[2:]):
            sys.stdout.write("alive\n")
            return
    try:
        from labelmill.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("error: the command line needs more: pip install 'labelmill[cli]'")
    run()
