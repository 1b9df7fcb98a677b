"""The benchmark: nodedns, a bare UDP echo and every DNS cache found on this machine, measured alike.

    python -m tests.bench.run --help      what can be chosen
    mixes        what is asked: the seed's twelve names, a Zipf mix, names never asked before
    authority    who knows the answers: a knotd on this machine, which also counts what reaches it
    peers        who is measured: one table, how to find, configure and start each
    processes    start, wait, CPU and memory of a process tree
    measure      one number each: dnsperf, the prober
    figures      medians and ratios
    report       Markdown      chart   the picture      targets   what nodedns must reach
    run          rounds: every server in turn, so that a slow minute of the machine hits all of them
    echo.c       the floor       prober.c   the latency of paced questions

CPU 0 belongs to the server under test; dnsperf, the prober, the authority and the harness live on CPU 1. The figure
that counts is server CPU per query, because dnsperf reaches the end of its own CPU before a fast server does.
"""
