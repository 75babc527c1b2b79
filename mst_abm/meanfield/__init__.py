"""The whole model as rate equations: everything mixed at random, means instead of draws."""
