"""The ONNX model: arrays of any kind in, the same answers out, or an error that says what was
wanted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from closedloop.bundle.frames import pack_frame
from closedloop.bundle.onnx_graph import convert
from closedloop.bundle.onnx_model import OnnxScorer
from closedloop.bundle.scorer import pack_rows
from closedloop.errors import ModelError
from closedloop.use_case.contract import MISSING
from tests.unit.bundle.shop import CATEGORICAL, NUMERIC, fit_pipeline, rows


@pytest.fixture(scope="module")
def content() -> bytes:
    return convert(fit_pipeline(), NUMERIC, CATEGORICAL)


@pytest.fixture(scope="module")
def scorer(content: bytes) -> OnnxScorer:
    return OnnxScorer(content, "shop", NUMERIC, CATEGORICAL, 2)


def test_rows_are_packed_as_they_are_prepared() -> None:
    """None, an absent column, NaN and infinity are null; the arrays have the order of the contract
    whatever that of the row is."""
    numbers, texts = pack_rows(
        [
            {"visits": 2, "spend": 1.5, "plan": "gold"},
            {"spend": None},
            {"spend": float("inf"), "plan": None},
        ],
        NUMERIC,
        CATEGORICAL,
    )
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [[1.5, 2.0], [np.nan, np.nan], [np.nan, np.nan]])
    assert texts.tolist() == [["gold"], [MISSING], [MISSING]]


def test_no_rows_have_no_answers(scorer: OnnxScorer) -> None:
    """An empty table is answered by an empty array."""
    assert scorer.probabilities(*pack_rows([], NUMERIC, CATEGORICAL)).shape == (0, 2)


def test_single_precision_numbers_are_taken(scorer: OnnxScorer) -> None:
    """Arrays of float32, in any memory order, are answered like the same numbers in float64."""
    numbers, texts = pack_frame(rows(9), NUMERIC, CATEGORICAL)
    single = np.asfortranarray(numbers.astype(np.float32))
    np.testing.assert_array_equal(
        scorer.probabilities(single, texts), scorer.probabilities(single.astype(float), texts)
    )


@pytest.mark.parametrize("text", ["\ud800", "gold\0", "\0", "g\ud800old", "x" * 100_000], ids=ascii)
def test_any_text_is_an_unseen_category(scorer: OnnxScorer, text: str) -> None:
    """What JSON can spell and a file cannot, or what ends a string in C, is answered like any
    category never seen."""
    asked, unseen = (
        pack_rows(
            [{"spend": 3.0, "visits": 1.0, "plan": plan}, {"plan": "gold"}], NUMERIC, CATEGORICAL
        )
        for plan in (text, "(never seen)")
    )
    np.testing.assert_array_equal(scorer.probabilities(*asked), scorer.probabilities(*unseen))


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        (np.zeros((2, 3)), np.full((2, 1), "a", object)),
        (np.zeros((2, 2)), np.full((1, 1), "a", object)),
        (np.zeros(2), np.full((2, 1), "a", object)),
        (np.zeros((1, 2)), np.zeros((1, 1))),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused(
    scorer: OnnxScorer, numbers: np.ndarray, texts: np.ndarray
) -> None:
    """The error says what shape was wanted; nothing of the runtime leaks out."""
    with pytest.raises(ModelError, match=r"numbers \(n, 2\) and texts \(n, 1\)"):
        scorer.probabilities(numbers, texts)


def test_one_model_is_asked_by_many_threads(scorer: OnnxScorer) -> None:
    """Eight threads that ask one model at once get the answers that each would get alone."""
    batches = [pack_frame(rows(seed, 20), NUMERIC, CATEGORICAL) for seed in range(40)]
    alone = [scorer.probabilities(*batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda batch: scorer.probabilities(*batch), batches * 5)
        for ours, theirs in zip(together, alone * 5, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_model_of_other_columns_or_classes_is_refused(content: bytes) -> None:
    """A model whose inputs or outputs are not those that its facts name is damaged, whatever it
    would answer."""
    with pytest.raises(ValueError, match="the contract has"):
        OnnxScorer(content, "shop", NUMERIC[:1], CATEGORICAL, 2)
    with pytest.raises(ValueError, match="its facts name 3 classes"):
        OnnxScorer(content, "shop", NUMERIC, CATEGORICAL, 3)
