"""A program that lets a fork server fork the program that was typed, and stands in its place until that has ended.

`tests.support.typed` saves it as `jobfleet` and as `python` in a folder. It loads hardly a module, because it is there
to begin in a few milliseconds. What the fork server refuses, it executes.
"""

import _signal  # type: ignore[import-not-found]  # the stubs do not have what `signal` is made of
import _socket
import os
import sys


def main() -> None:
    """Ask, forward signals, and end as the program has ended."""
    folder, _, name = sys.argv[0].rpartition("/")
    script = f"{sys.executable.rpartition('/')[0]}/{name}"
    words = sys.argv[1:] if name == "python" else [script, *sys.argv[1:]]
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    link.connect(f"{folder}/door")
    text = "\0".join([" ".join(str(int(number)) for number in before), *words])
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    link.sendmsg([os.fsencode(text)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    pid = int(link.recv(16))
    if not pid:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        os.execv(sys.executable, [sys.executable, *words])
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, lambda number, _: os.kill(pid, number))
    _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
    code = int(link.recv(16))
    if code < 0:
        if -code not in {_signal.SIGKILL, _signal.SIGSTOP}:
            _signal.signal(-code, _signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
