"""The far end: makes tunnels for nodes that ask, within its capacity, and keeps what comes out of them apart."""
