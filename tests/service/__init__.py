"""The whole service, as its users meet it: real processes, real sockets, a real upstream on loopback."""
