"""The pool, the selection of tunnels, and who holds which. Pure but for `drivers`."""
