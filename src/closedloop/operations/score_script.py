"""What an exported version is scored with: a script, and how it reads values, without closedloop.

Values are read by closedloop's own modules, copied as they are: no second reader could differ.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from closedloop.use_case.contract import MISSING
from closedloop.windows import spelling, written_numbers

SCRIPT_FILE = "score.py"

_SCRIPT = '''"""Score a row: python score.py '{{"COLUMN": VALUE, ...}}', or the same on stdin."""
import json, math, sys
from pathlib import Path
{imports}
from spelling import read_category
from written_numbers import read_number

here = Path(__file__).resolve().parent
contract = json.loads((here / "contract.json").read_text(encoding="utf-8"))
row = json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.buffer.read())
if missing := [name for name in contract["required"] if name not in row]:
    sys.exit("wanted a value or null for every column, got none for " + ", ".join(missing))
numbers = [read_number(row.get(name)) for name in contract["numeric"]]
numbers = [number if math.isfinite(number) else math.nan for number in numbers]
allowed = [tuple(contract["columns"][name]["allowed"]) for name in contract["categorical"]]
names = contract["categorical"]
texts = [read_category(known)(row.get(name)) for name, known in zip(names, allowed)]
{scoring}
probabilities = dict(zip(contract["classes"], map(float, answers)))
best = max(probabilities, key=probabilities.get)
if (threshold := contract["threshold"]) is not None:
    best = contract["classes"][int(answers[1] >= threshold)]
print(json.dumps({{"prediction": best, "probabilities": probabilities}}))
'''

_ONNX = (
    "import numpy, onnxruntime",
    """given = {"numbers": numpy.array([numbers]), "texts": numpy.array([texts], dtype=object)}
content, providers = (here / "model.onnx").read_bytes(), ["CPUExecutionProvider"]
session = onnxruntime.InferenceSession(content, providers=providers)
inputs = {tensor.name: given[tensor.name] for tensor in session.get_inputs()}
answers = session.run(["probabilities"], inputs)[0][0]""",
)
_PIPELINE = (
    "import pandas, skops.io",
    """columns = {name: [number] for name, number in zip(contract["numeric"], numbers)}
columns |= {name: pandas.Series([text], dtype=object) for name, text in zip(names, texts)}
pipeline = skops.io.load(here / "model" / "model.skops", trusted=contract["trusted_types"])
answers = pipeline.predict_proba(pandas.DataFrame(columns))[0]""",
)


def write_script(folder: Path, served_by: str) -> None:
    """Write the script into a folder, and beside it the modules that read values."""
    imports, scoring = _ONNX if served_by == "onnx" else _PIPELINE
    _write(folder / SCRIPT_FILE, _SCRIPT.format(imports=imports, scoring=scoring))
    for module in (spelling, written_numbers):
        text = inspect.getsource(module)
        text = text.replace(
            "from closedloop.use_case.contract import MISSING", f"MISSING = {MISSING!r}"
        ).replace("from closedloop.windows.spelling import", "from spelling import")
        _write(folder / f"{module.__name__.rpartition('.')[2]}.py", text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
