"""`python -m pointsman.lab.sweep [PREFIX]`: take down the labs of a run, or those that dead runs left behind."""

import sys

from pointsman.lab.life import sweep

if __name__ == "__main__":
    sweep(sys.argv[1] if len(sys.argv) > 1 else None)
