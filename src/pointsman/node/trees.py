"""A policy compiled for this node: the diagram, what it says to plain TCP flows, and which users it names."""

from collections.abc import Callable
from dataclasses import dataclass

from pointsman.dataplane.users import named
from pointsman.model.diagram import Node
from pointsman.model.policy import Policy
from pointsman.node import config
from pointsman.policy.diagram import Compiled, compile_policy
from pointsman.policy.flow import flows


@dataclass(frozen=True, slots=True)
class Trees:
    """One policy, compiled once. `plain_tcp` gives the diagram for a flow that fits these destinations."""

    compiled: Compiled
    plain_tcp: Callable[[tuple[str, ...]], Node]
    uids: tuple[int, ...]

    @property
    def policy(self) -> Policy:
        """Return the policy."""
        return self.compiled.policy


def compile_trees(policy: Policy, node: config.Node) -> Trees:
    """Compile the policy with the facts of this node."""
    declared = {attribute.name for attribute in policy.attributes}
    given = {f"node.{name}": value for name, value in node.facts if f"node.{name}" in declared}
    compiled = compile_policy(policy, given)
    return Trees(compiled, flows(compiled), tuple(sorted(named(policy))))
