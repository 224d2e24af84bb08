"""Decision diagram and tunnels in, Envoy resources and nftables rule sets out. Pure."""
