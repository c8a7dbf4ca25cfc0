"""What `closedloop doctor` says about journal and registry: whether they agree on what is live."""

from __future__ import annotations

from closedloop.bundle.skops_model import SELF_TEST_TOLERANCE
from closedloop.decisions.checks import Action
from closedloop.errors import ClosedLoopError
from closedloop.turn.agreement import find_faults, look_for_disagreement
from closedloop.turn.moved_aliases import MOVES
from closedloop.turn.open import Loop


def describe_journal(loop: Loop) -> str:
    """What the journal holds; raises ClosedLoopError for damage and for what was cut off."""
    if (fault := find_faults(loop)) is not None:
        raise fault
    entries = loop.journal.history(loop.use_case.name)
    undone = [
        str(entry.id)
        for entry in entries
        if entry.outcome is None
        and (entry.decision.action in MOVES or entry.decision.action is Action.RETRAIN)
    ]
    if undone:
        raise ClosedLoopError(
            where="journal",
            wanted="every decision carried out",
            got=f"decision {', '.join(undone)} not carried out",
            then="finish what was interrupted: closedloop monitor",
        )
    begun = [
        str(entry.id)
        for entry in entries
        if entry.outcome is None and entry.decision.action is Action.FORGET
    ]
    if begun:
        raise ClosedLoopError(
            where="journal",
            wanted="every erasure finished",
            got=f"decision {', '.join(begun)} not carried out",
            then="run closedloop forget once more with the same key",
        )
    chain, address = (
        loop.journal.read_chain(loop.use_case.name),
        loop.engine.url.render_as_string(hide_password=True),
    )
    head = f", chained up to {chain.head}" if chain.links else ""
    return f"{len(entries)} decisions at {address}{head}"


def describe_registry(loop: Loop) -> str:
    """Where MLflow is and how many versions it has; raises RegistryError when it is away."""
    loop.registry.ping()
    return f"{loop.registry.tracking_uri}: {len(loop.registry.versions())} versions"


def describe_aliases(loop: Loop) -> str:
    """Whether the aliases are where decisions put them; raises ClosedLoopError when not."""
    if look_for_disagreement(loop) is not None:
        return "not compared, because the registry is another one"
    if moved := loop.tell_moved():
        raise ClosedLoopError(
            where="MLflow",
            wanted="`production` and `previous` where the decisions in the journal put them",
            got="; ".join(moved),
            then="look at the versions: closedloop status",
        )
    return "production and previous are where the journal put them"


def describe_production(loop: Loop) -> str:
    """That production loads and scores as trained; raises ClosedLoopError when not."""
    if (disagreement := look_for_disagreement(loop)) is not None:
        raise disagreement.as_error(loop.use_case.name)
    live = loop.registry.production()
    if live is None:
        return "none yet, train one: closedloop monitor"
    bundle = loop.registry.load(live)
    if (difference := bundle.measure_self_test()) > SELF_TEST_TOLERANCE:
        raise ClosedLoopError(
            where=f"version {live}",
            wanted="the scores of the trained model",
            got=f"a difference of {difference:.2g}",
            then="train again here: closedloop train",
        )
    proof = bundle.proof
    answering = "as ONNX" if proof.served_by == "onnx" else f"by its pipeline ({proof.reason})"
    price = "" if proof.milliseconds is None else f", {proof.milliseconds:g} ms a row"
    return f"version {live} loads and scores as trained; it is answered {answering}{price}"
