"""What the store costs and saves, beside safetensors, torch, HDF5, joblib and MLflow, on the same weights.

Name sections to run only these (``python bench/store.py load keep``); ``--large`` adds 1 GB to load and keep, and
100,000 differences to saves. Sections: load, keep, mlflow, stall, series, catalog, lists, care, growth, saves.
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

SECTIONS = {
    "load": "_speed", "keep": "_speed", "mlflow": "_mlflow", "stall": "_stall", "series": "_series",
    "catalog": "_scale", "lists": "_scale", "care": "_scale", "growth": "_scale",
    "saves": "_saves",
}  # fmt: skip
WANTED = {
    "load_vs_safetensors": ("<=", 1.2, 1.0),
    "load_vs_torch": ("<=", 0.1, 0.07),
    "keep_vs_safetensors": ("<=", 3, 1.5),
    "keep_vs_mlflow": ("<=", 0.33, 0.2),
    "stall_vs_torch_save": ("<=", 0.4, 0.2),
    "steps_after_stall": ("<=", 1.3, 1.1),
    "dedup_frozen": (">=", 5, 5.9),
    "dedup_lora": (">=", 4, 4.6),
    "dedup_fp32": (">=", 1.3, 1.6),
    "dedup_bf16": (">=", 2, 3),
    "list_ms": ("<=", 50, 50),
    "log_ms": ("<=", 50, 50),
}


def main() -> None:
    """Run the sections, print their tables, one of all figures, and one line of JSON."""
    words = sys.argv[1:]
    chosen = [word for word in words if not word.startswith("-")] or list(SECTIONS)
    if unknown := [word for word in chosen if word not in SECTIONS] + [
        word for word in words if word.startswith("-") and word != "--large"
    ]:
        raise SystemExit(f"there is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}, and --large")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("ENGRAM_BENCH")) as folder:
        for section in chosen:
            measure = getattr(importlib.import_module(SECTIONS[section]), section)
            figures |= measure(Path(folder), huge="--large" in words)
    print(f"\n{'figure':<28} {'reached':>10} {'must':>10} {'stretch':>10}")
    for name, value in figures.items():
        sign, must, stretch = WANTED.get(name, ("", "", ""))
        print(f"{name:<28} {value:>10.3f} {f'{sign} {must}':>10} {f'{sign} {stretch}':>10}")
    print(json.dumps({"bench": "store", "figures": {name: round(value, 4) for name, value in figures.items()}}))


if __name__ == "__main__":
    main()
