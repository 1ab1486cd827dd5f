"""What a process does to the machine, told by Python itself: an audit hook, the ``sitecustomize`` of those watched.

Copied beside the module ``planted`` into a folder that their paths begin with, so that the isolated workers, which are
given the paths and nothing else, are under watch like the process that asks them.
"""

# Paths are compared as texts, in a hook that each method of a path would call again.
# ruff: noqa: PTH100, PTH118, PTH120

import json
import os
import sys

PLACE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FREE = [os.path.join(PLACE, name) + os.sep for name in ("work", "tmp", "store")]
CANARY, SECRET = os.path.join(PLACE, "canary"), os.path.join(PLACE, "secret") + os.sep
LOG = os.open(os.path.join(PLACE, "events"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
}  # fmt: skip
STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "os.startfile"}
SPEAKS = {
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "urllib.Request",
}
HABITS = ("['uname', '-p']", "('::1', 0)")
"""What libraries do in any program that imports them: ask the system its name, and whether there is IPv6."""
NURSERY, NODE = "from engram.formats._nursery import main; main()", "answer.mjs"


def note(*said: object) -> None:
    if any(habit in str(one) for habit in HABITS for one in said):
        return
    os.write(LOG, json.dumps([str(one)[:300] for one in said]).encode() + b"\n")


def outside(path: object) -> bool:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False  # a number of a file that is open already
    whole = os.path.abspath(os.fsdecode(path))
    return whole not in {"/dev/null", *(free[:-1] for free in FREE)} and not whole.startswith(tuple(FREE))


def opened(path: object, _mode: object, flags: object) -> None:
    if isinstance(flags, int) and flags & WRITES:
        if outside(path) and "__pycache__" not in os.fsdecode(path):
            note("open for writing", os.fsdecode(path))
    elif isinstance(path, (str, bytes)) and os.path.abspath(os.fsdecode(path)).startswith(SECRET):
        note("open", os.fsdecode(path))


def started(program: object, words: object) -> None:
    said = [str(word) for word in words] if isinstance(words, (list, tuple)) else [str(words)]
    ours = said[-4:-3] == [NURSERY] and str(program) == sys.executable
    if not ours and not (len(said) == 2 and said[1].endswith(NODE)):
        note("subprocess.Popen", program, said)


def hook(event: str, args: tuple) -> None:
    if event == "open":
        opened(*args)
    elif event == "subprocess.Popen":
        started(args[0], args[1])
    elif event == "os.fork" and sys._getframe(1).f_code.co_filename.endswith("/engram/formats/_nursery.py"):
        pass  # it forks the workers
    elif event in STARTS or event in SPEAKS:
        note(event, args)
    elif event in CHANGES:
        paths = args[: 2 if event in {"os.rename", "os.link"} else 1]
        if any(map(outside, paths)) and "__pycache__" not in str(paths):
            note(event, args)
    elif event == "pickle.find_class" or (event == "import" and args[0] == "planted"):
        note(event, args)
    elif (event == "compile" and CANARY in str(args[0])) or (event == "exec" and CANARY in str(args[0].co_consts)):
        note(event, args[0])


sys.addaudithook(hook)
