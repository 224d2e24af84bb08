"""Edges to the host: netlink, nftables, Envoy, processes. Thin and dull; failures are `Fault`."""
