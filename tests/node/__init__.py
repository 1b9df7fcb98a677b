"""Drills on a booted Debian root with real systemd as PID 1. `make test-node`; needs root."""
