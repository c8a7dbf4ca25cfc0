"""The tables and keys of loop.toml, as they are written."""

from __future__ import annotations

from dataclasses import dataclass, field

from closedloop.decisions.fingerprint import ADDED_LATER
from closedloop.decisions.policy import Policy
from closedloop.use_case.alerts import Alerts
from closedloop.use_case.compute_rules import ComputeRules
from closedloop.use_case.contract import (
    AnswerRule,
    Card,
    Column,
    Labels,
    Serving,
    Slice,
    Target,
    Training,
)
from closedloop.use_case.housekeeping import Housekeeping
from closedloop.use_case.recipe import Recipe
from closedloop.use_case.schedule import Schedule
from closedloop.use_case.source import Source


@dataclass(frozen=True)
class LoopFile:
    """The file as written; UseCase adds its path."""

    name: str
    """Names the model in the registry: letters, digits, - and _."""
    source: Source
    """Where the windows are."""
    target: Target
    """What is predicted."""
    columns: dict[str, Column]
    """The contract, one table a feature, in the order in which the model sees them."""
    description: str = ""
    """One sentence for people."""
    key: str | None = None
    """Column that names a row, once in a window; ties predictions to labels."""
    group: str | None = field(default=None, metadata=ADDED_LATER)
    """Column that says which rows belong together, such as a customer; intervals then count
    groups."""
    golden: str | None = None
    """JSON file beside loop.toml with golden cases."""
    slices: tuple[Slice, ...] = ()
    """Parts of the rows that are compared on their own."""
    training: Training = field(default_factory=Training)
    """Which candidates are fitted."""
    recipes: dict[str, Recipe] = field(default_factory=dict, metadata=ADDED_LATER)
    """Recipes of your own, one table each."""
    labels: Labels = field(default_factory=Labels)
    """When labels come."""
    schedule: Schedule = field(default_factory=Schedule)
    """When the loop looks by itself."""
    policy: Policy = field(default_factory=Policy)
    """Every number that can change a decision."""
    card: Card = field(default_factory=Card)
    """What people say about the models."""
    decision: AnswerRule = field(default=AnswerRule(), metadata=ADDED_LATER)
    """Which class is answered; for two classes."""
    alerts: Alerts = field(default_factory=Alerts)
    """Whom to tell what."""
    housekeeping: Housekeeping = field(default_factory=Housekeeping)
    """What to delete on a schedule."""
    serving: Serving = field(default=Serving(), metadata=ADDED_LATER)
    """How the API serves."""
    compute: ComputeRules = field(default=ComputeRules(), metadata=ADDED_LATER)
    """How much memory a turn may take."""
