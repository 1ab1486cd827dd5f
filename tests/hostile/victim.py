"""What ordinary unpickling makes of the hostile pickles, under the same watch: that each of them is one.

python -m hostile.victim PLACE
"""

import copyreg
import json
import pickle  # noqa: TID251 - the victim
import sys
from contextlib import suppress
from pathlib import Path

from hostile.pickles import EXTENSION, payloads

if __name__ == "__main__":
    place = Path(sys.argv[1])
    log, canary = place / "events", place / "canary"
    copyreg.add_extension("os", "system", EXTENSION)
    for name, payload in payloads(canary).items():
        sys.modules.pop("planted", None)
        seen = log.stat().st_size
        with suppress(Exception):
            pickle.loads(payload)
        ran = canary.exists()
        canary.unlink(missing_ok=True)
        noted = [line for line in log.read_bytes()[seen:].decode().splitlines() if str(canary) not in line or ran]
        sys.stdout.write(json.dumps({"name": name, "ran": ran, "noted": noted}) + "\n")
