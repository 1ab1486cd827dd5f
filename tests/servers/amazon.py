"""moto's server, one conditional request at a time.

moto looks whether an object is there and then makes it, with other threads in between: of 150 names that eight clients
raced for, two were given to several. Amazon gives each to one.

Only its S3 answers: to tell which of its two hundred services is asked, moto looks twice a request for all their
folders, which takes as long as the answer.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


def serve(port: int) -> None:
    """Answer until the process is told to stop."""
    os.environ["MOTO_PORT"] = str(port)
    application, turn = create_backend_app("s3"), threading.Lock()

    def one_by_one(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in environ:
            return application(environ, start)
        with turn:
            return list(application(environ, start))

    run_simple("127.0.0.1", port, one_by_one, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
