"""A small world of network namespaces, for demo, tests and benchmarks. It never touches the host's own network."""
