"""The example cluster of `nodedns run --example`: an upstream with a cluster's names; a first run needs no cluster.

cluster.py holds the names and decides each answer from bytes alone; server.py is the only file that opens a socket.
"""
