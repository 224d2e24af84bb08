"""The command line: asks the parts and prints tables for people and JSON for programs."""
