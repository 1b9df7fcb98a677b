"""Keeps ssl out of a worker: import this before asyncio.

asyncio takes ssl if it is there and does without if not (`except ImportError: ssl = None` in sslproto and
selector_events). ssl is half the price of asyncio, 60 ms of a refork's 100 and 4 MB resident, so it is for those whose
upstreams speak TLS.
"""

import sys

sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
