"""The main path on real data, each step as the command a user would type.

Run by ``make demo``. It trains on the handwritten digits that scikit-learn ships, keeps the network, exports it with
proof, serves it, asks the server about some pictures over HTTP, and ends by itself.
"""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

FOLDER = Path(__file__).resolve().parent.parent
PLACE = FOLDER / "demo"
ENVIRONMENT = {**os.environ, "ENGRAM_STORE": str(PLACE / "engrams")}


def command(*words: str) -> None:
    """Show a command as it would be typed, and run it."""
    print(f"\n\033[1m$ engram {' '.join(words)}\033[0m", flush=True)
    subprocess.run([sys.executable, "-m", "engram", *words], cwd=PLACE, env=ENVIRONMENT, check=True)


def serve(*words: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server and wait until it says where it listens."""
    print(f"\n\033[1m$ engram {' '.join(words)} &\033[0m", flush=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "engram", *words], cwd=PLACE, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    for line in server.stdout:
        print(line, end="", flush=True)
        if "http://" in line:
            return server, next(word for word in line.split() if word.startswith("http://"))
    raise SystemExit("the server did not start")


def ask(url: str, row: dict[str, object]) -> dict[str, object]:
    """One row to the server, its answer back."""
    request = urllib.request.Request(
        f"{url}/predict", json.dumps(row).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answered:
        found: dict[str, object] = json.load(answered)["predictions"][0]
    return found


def picture(number: int) -> tuple[str, int]:
    """A digit of scikit-learn as a PNG in base64, and what it is."""
    digits = load_digits()
    pixels = (digits.images[number] * (255 / 16)).round().astype("uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode(), int(digits.target[number])


def main() -> None:
    """Walk the main path."""
    PLACE.mkdir(exist_ok=True)
    (PLACE / "digits.toml").write_text((FOLDER / "examples" / "digits.toml").read_text())
    command("check", "digits.toml")
    command("run", "digits.toml")
    command("show", "digits")
    command("export", "digits", "--to", "onnx", "-o", "digits.onnx")
    server, url = serve("serve", "digits@prod", "--port", "0")
    try:
        print("\nasking about four pictures over HTTP:")
        for number in (3, 500, 1000, 1500):
            image, truth = picture(number)
            answer = ask(url, {"image": image})
            chance = max(answer["probabilities"].values())
            print(f"  picture {number:4d}: is a {truth}, answered {answer['label']} with probability {chance:.3f}")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
    print(
        f"\n\033[32m✓\033[0m trained, kept, exported with proof, served and asked. What to try next:\n"
        f"  open the report           {next((PLACE / 'engrams' / 'reports').glob('*.html'))}\n"
        f"  your own table            engram new mine.toml --from mine.csv && engram run mine.toml\n"
        f"  read on                   docs/tour.md"
    )


if __name__ == "__main__":
    main()
