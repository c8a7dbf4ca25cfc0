"""Score a table of any size with the production model, one chunk at a time."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from closedloop.bundle.loaded import LoadedVersion
from closedloop.bundle.scored_rows import score_names, score_rows
from closedloop.cli.explained_columns import Explained, ExplainedColumns
from closedloop.cli.kept_columns import choose_kept, number_rows
from closedloop.decisions.evidence import Violation
from closedloop.errors import SourceError
from closedloop.operations.progress import OnProgress
from closedloop.storage.home import Writing
from closedloop.turn.open import Loop
from closedloop.use_case.source import Source
from closedloop.windows.contract_check import check_contract, refuse_incomplete
from closedloop.windows.prepare import prepare
from closedloop.windows.tables.chunk_writer import OUT_ENDINGS, write_whole
from closedloop.windows.tables.chunks import CHUNK_ROWS, Chunk, open_table


@dataclass(frozen=True)
class Scored:
    """How many rows were scored, by which version, how they broke the contract, how explained."""

    rows: int
    version: int
    violations: tuple[Violation, ...]
    explained: Explained | None = None


def predict_table(
    loop: Loop,
    table: Path,
    out: Path,
    report: OnProgress = lambda done, size: None,
    *,
    keep_columns: bool = False,
    writing: Writing = nullcontext,
    quote_formulas: bool = False,
    explain: bool = False,
) -> Scored:
    """Write key, prediction, class probabilities and version of each row to `out`, in order.

    `row`, from 1, takes the place of a key that is not there; with `keep_columns`, all columns of
    the table do. `explain` adds what each column adds to the score. `quote_formulas` is as for
    `ChunkWriter`. `out` is written completely or not at all, inside `writing()`; `report` is called
    with the progress. Raises SourceError when a feature column is missing, the file type is unknown
    or `out` cannot be written, RegistryError without a production model, ModelError when the API
    would refuse to serve that version too.
    """
    if out.suffix.lower() not in OUT_ENDINGS:
        raise SourceError(
            where=str(out),
            wanted="a name ending in .csv or .parquet",
            got=out.suffix or "no ending",
            then="rename OUT",
        )
    if table.exists() and out.exists() and table.samefile(out):
        raise SourceError(
            where=str(out),
            wanted="a file other than IN",
            got="the same file",
            then="choose another OUT",
        )
    version = loop.registry.require_production()
    model = loop.registry.load_proved(version)
    return score_table(
        model,
        version,
        table,
        out,
        report,
        source=loop.use_case.source,
        keep_columns=keep_columns,
        writing=writing,
        quote_formulas=quote_formulas,
        with_pipeline=loop.registry.load(version) if explain else None,
    )


def score_table(
    model: LoadedVersion,
    version: int,
    table: Path,
    out: Path,
    report: OnProgress = lambda done, size: None,
    *,
    chunk_rows: int = CHUNK_ROWS,
    source: Source | None = None,
    keep_columns: bool = False,
    writing: Writing = nullcontext,
    quote_formulas: bool = False,
    with_pipeline: LoadedVersion | None = None,
) -> Scored:
    """Score with a loaded model. Memory is bounded by `chunk_rows`, however long the table is.

    `source` says how the table is written; by default the model's own use case. `with_pipeline` is
    the same version, loaded with its pipeline: then the scores are explained.

    The contract is checked per chunk of at least `chunk_rows` rows, if the table has that many:
    rates over fewer rows would be chance, and rates over the whole table would hide one broken day
    in a good year. The first violation of each column is returned, with its rows. Duplicate keys
    are noticed only within a chunk.
    """
    model.require_self_test(version)
    use_case, rows, violations = model.use_case, 0, dict[str, Violation]()
    features, others = (
        list(use_case.columns),
        [name for name in (use_case.key, use_case.target.column) if name is not None],
    )
    reader = open_table(table, source or use_case.source, [*features, *others])
    refuse_incomplete(reader.names, use_case, str(table))
    explaining = None if with_pipeline is None else ExplainedColumns(with_pipeline)
    scores = (*score_names(model.facts.classes), *(explaining.names if explaining else ()))
    kept = choose_kept(reader, use_case.key, scores, table, keep_columns=keep_columns)
    with writing(), write_whole(out, quote_formulas=quote_formulas) as writer:
        for chunk in reader.chunks([*features, *others], use_case.numeric, chunk_rows, kept):
            prepared = prepare(chunk.frame, use_case)
            first = {name: chunk.columns[name] for name in kept} or number_rows(chunk)
            parts = explaining.explain(prepared) if explaining else {}
            writer.write({**first, **score_rows(model, prepared, version), **parts})
            for violation in check_contract(chunk.frame, prepared, use_case):
                violations.setdefault(violation.column, _placed(violation, chunk))
            rows += len(prepared)
            report(reader.done, reader.size)
    explained = explaining.explained if explaining else None
    return Scored(rows, version, tuple(violations.values()), explained)


def _placed(violation: Violation, chunk: Chunk) -> Violation:
    if chunk.whole or violation.rule == "missing":
        return violation
    return replace(
        violation,
        got=f"{violation.got}, in rows {chunk.first_row} to "
        f"{chunk.first_row + len(chunk.frame) - 1}",
    )
