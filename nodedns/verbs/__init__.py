"""What the verbs of cli.py do, one module each. `files` reads the config, `service` finds the running service."""
