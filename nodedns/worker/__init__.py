"""A CHILD: the hit thread (native) and the miss loop (asyncio). It holds no privilege and opens no listening socket."""
