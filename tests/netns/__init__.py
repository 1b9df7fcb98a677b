"""What the kernel really does with what we tell it, each test in a network namespace of its own. Needs root."""
