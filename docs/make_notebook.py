"""Run the notebook on a loop of its own and write what it shows: `make notebook`.

What is committed has no times, counters or paths, so that it changes only when a result does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = Path("docs/notebooks/one_turn.ipynb")
USE_CASE = Path("data/iris")


def main() -> None:
    """Take the turns that the notebook asks for, run it, and write it back with its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        top = copy_tree(Path(folder))
        environment = {**os.environ, "CLOSEDLOOP_HOME": str(top / "var")}
        for words in (
            ["generate"],
            ["monitor", "--window", "window_0"],
            ["monitor", "--window", "window_1"],
        ):
            command = [sys.executable, "-m", "closedloop", *words, "--use-case", str(USE_CASE)]
            subprocess.run(command, cwd=top, env=environment, check=True)
        nbformat.write(strip(run(top)), ROOT / NOTEBOOK)


def copy_tree(top: Path) -> Path:
    """A folder with as much of the project as the notebook reads: itself and its use case."""
    shutil.copytree(
        ROOT / USE_CASE, top / USE_CASE, ignore=shutil.ignore_patterns("generated", "__pycache__")
    )
    (top / NOTEBOOK).parent.mkdir(parents=True)
    shutil.copy(ROOT / NOTEBOOK, top / NOTEBOOK)
    return top


def run(top: Path) -> NotebookNode:
    """The notebook after every cell; raises CellExecutionError for the first that fails."""
    notebook = nbformat.read(top / NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str((top / NOTEBOOK).parent)}}
    # By files that are ours alone, not by ports. Their paths have to be short.
    with tempfile.TemporaryDirectory() as sockets:
        kernel = AsyncKernelManager(transport="ipc", connection_file=f"{sockets}/kernel.json")
        client = NotebookClient(notebook, km=kernel, timeout=300, resources=folder)
        ours = ("CLOSEDLOOP_", "MLFLOW_")  # the notebook says where everything is
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return client.execute(cleanup_kc=True, env={**kept, "IPYTHONDIR": sockets})


def strip(notebook: NotebookNode) -> NotebookNode:
    """Without counters, times, warnings and pages: results as plain text."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "data" in output:
                output.data = {"text/plain": output.data["text/plain"]}
                output.metadata = {}
            if "execution_count" in output:
                output.execution_count = None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


if __name__ == "__main__":
    main()
