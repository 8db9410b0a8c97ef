"""`python -m jobfleet`, the same as the command `jobfleet`."""

import signal

from jobfleet.errors import exit_fast


def main() -> None:
    """Run the command line. Until it is imported, Ctrl-C ends the process without a traceback."""
    exit_fast()
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))  # `jobfleet up` starts a worker with it blocked
    from jobfleet.cli.main import main as command_line

    if is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":  # a spawned child or a module walk imports this file and must not run it
    main()
