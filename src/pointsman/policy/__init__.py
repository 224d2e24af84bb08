"""From the policy language to the decision diagram, and the decisions it gives. Pure."""
