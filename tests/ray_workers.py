"""Ray's workers as forks of a server that has imported the libraries: a worker that starts anew spends 9 s on that.

A raylet runs this file in place of Ray's setup_worker.py: it asks the server for a fork, and ends when the fork does.
Everything else is Ray's: the fork runs Ray's own worker with the arguments and the environment that the raylet gave.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

SERVER = "LGD_TESTS_RAY_WORKERS"
"""name of the environment variable with the path of the server's socket"""
LIBRARIES = ("diffusers.models.transformers", "lgd.experiments.distill", "pandas", "pyarrow", "s3fs")
"""imported by the server; not ray, which reads the environment of its worker when it is imported"""


def ask() -> None:
    """Have the server run the script and the arguments that are those of this process, and wait for its end."""
    message = json.dumps([sys.argv[1:], dict(os.environ), str(Path.cwd()), os.getppid()]).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(os.environ[SERVER])
        socket.send_fds(connection, [message], [0, 1, 2])
        connection.recv(1)


def serve(address: str) -> None:
    """Fork a worker for every connection, until standard input ends."""
    import gc
    from importlib import import_module

    for library in LIBRARIES:
        import_module(library)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                work(connection, address)
            connection.close()


def work(connection: socket.socket, address: str) -> None:
    """Run the script that a message names, with the arguments and open files of the process that sent it."""
    import runpy

    message, descriptors, _, _ = socket.recv_fds(connection, 2**20, 3)
    arguments, environment, folder, parent = json.loads(message)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    Path(f"{address}.{os.getpid()}").write_text(str(parent))
    sys.argv = [word for word in arguments if not word.startswith(("--language=", "--serialized-runtime-env-context="))]
    runpy.run_path(sys.argv[0], run_name="__main__")
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "--serve" else ask()
