"""The parent: sockets, shared memory, forks, signals, reload. No threads, no asyncio, one wait (poller.py)."""
