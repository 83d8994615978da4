"""`python -m stripe_double FILE PORT`: serve the double on 127.0.0.1, with its state in the file, until SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from stripe_double.server import serve


def main(file: Path, port: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    server = serve(file, port)
    for number in (signal.SIGINT, signal.SIGTERM):  # `shutdown` waits for the loop that this thread runs
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    sys.stdout.write(f"a stand-in for Stripe listens at http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
