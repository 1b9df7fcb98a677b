"""A CHILD, user nodedns: asks what a client would ask, and where kube-dns is."""
