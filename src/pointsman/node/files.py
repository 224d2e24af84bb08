"""All files of a node, read together: its own, its tunnels', its policy. All that is wrong is told at once."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pointsman.model.policy import Policy
from pointsman.model.problem import Invalid, Problem
from pointsman.model.tunnel import Entry
from pointsman.node import applied, identity
from pointsman.node.config import Judged as JudgedNode
from pointsman.node.config import Node, judge_node
from pointsman.node.coverage import uncovered
from pointsman.node.trees import compile_trees
from pointsman.policy.check import unsatisfiable
from pointsman.policy.load import Judged as JudgedPolicy
from pointsman.policy.load import Loaded
from pointsman.tunnels.drivers.files import read_text
from pointsman.tunnels.pool import Pool, load_pool

Read = TypeVar("Read")
Chosen = tuple[applied.Source, Policy, str]


def check(policy: JudgedPolicy, config: Path) -> tuple[Node, Pool, Loaded]:
    """Return node, tunnels and policy, on any host. Raises `Invalid` with all that is wrong with any of them."""
    node = judge_node(config)
    found = [*policy.problems, *node.problems]
    pool = _tried(found, lambda: load_pool(node.tunnels, read_text))
    if node.node is not None:
        found += _unsatisfied(policy, node.node)
    if found or node.node is None or pool is None or policy.loaded is None:
        raise Invalid(dict.fromkeys(found))
    return node.node, pool, policy.loaded


def own(config: Path) -> Node:
    """Return the node file of this host. Where it is wrong, what is wrong with tunnels and policy is told with it."""
    judged = judge_node(config)
    found = _of_host(judged)
    if judged.node is not None and not found:
        return judged.node
    _tried(found, lambda: load_pool(judged.tunnels, read_text))
    if judged.node is not None:
        found += identity.unusable(identity.judge(judged.node, datetime.now(UTC)))
        path = judged.node.policy
        _tried(found, lambda: applied.own(path))
    raise Invalid(dict.fromkeys(found))


def named(node: Node, kept: Path) -> tuple[Pool, Chosen, tuple[Problem, ...]]:
    """Return the tunnels of a checked node, the policy to enforce, and what is to be told of files for gateways.

    `kept` is the policy that was applied last.
    """
    told = identity.judge(node, datetime.now(UTC))
    found = identity.unusable(told)
    pool = _tried(found, lambda: load_pool(zip(node.entries, node.places, strict=True), read_text))
    chosen = _tried(found, lambda: applied.choose(node.policy, kept))
    if found or pool is None or chosen is None:
        raise Invalid(dict.fromkeys(found))
    return pool, chosen, tuple(one.problem for one in told)


def notes(node: Node, pool: Pool, policy: Policy) -> tuple[Problem, ...]:
    """Return what is not wrong, but worth knowing: lines without effect, and what tunnels cannot carry."""
    left_out = uncovered(policy, pool.supplies, lambda: compile_trees(policy, node).compiled)
    return tuple(sorted(dict.fromkeys((*pool.notes, *left_out))))


def _of_host(judged: JudgedNode) -> list[Problem]:
    return [*judged.problems, *(judged.node.unknown_users if judged.node is not None else ())]


def _unsatisfied(policy: JudgedPolicy, node: Node) -> Iterable[Problem]:
    offers = [Entry(one.name, one.kind, one.level, one.labels) for one in node.gateways]
    return unsatisfiable(policy.profiles, node.entries, policy.places, offers)


def _tried(found: list[Problem], step: Callable[[], Read]) -> Read | None:
    """Return what a step reads; where that is not right, note what is wrong with it."""
    try:
        return step()
    except Invalid as invalid:
        found += invalid.problems
        return None
