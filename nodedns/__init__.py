"""nodedns: a DNS cache for every Kubernetes node, run as an ordinary OS service.

Rooms. A room is what its code may touch; imports point downwards only (tests/unit/test_layers.py walks them).

    cli, verbs/  one short function per verb; cli alone turns an error into a line and an exit code
    supervisor/  THE PARENT: root, no threads, no asyncio, one wait. Sockets, forks, signals, reload
    host/        ROOT, in a child that lives as long as the change takes: the only room that changes the machine; the
                 link, and netfilter/: the dead-man switch (steering), ACCEPT rules (firewall, iptables), detection
    monitor/     A CHILD: asks ourselves over UDP and TCP as a client would, and the cluster where kube-dns is (aiodns);
                 HTTP: /metrics from what stands in shared memory, /health, /ready; the query log and dnstap
    example/     A CHILD of `run --example` only: a small authoritative server with a cluster's names (dnslib)
    worker/      A CHILD: the hit thread (native, no GIL) and the miss loop (asyncio): forward, upstreams, TCP clients
    native/      THE HIT, C11: table.h (shared cache), wire.h (DNS bytes), slot.h (what outlives a worker), serve.h (the
                 hit loop), counters.h, samples.h (what was lately asked); knows nothing of the rest
    journal      what a person must know of, to journald or stderr; its events are core/events.py's table
    core/        PURE: decides; no os, socket, time, subprocess, asyncio; time is an argument
    config       TOML text -> frozen dataclasses, or every problem at once

Walks, for a first reading:

Hit.     worker.main starts a thread in native.Server.run (serve.c): recvmmsg -> wire.c parses, keys -> table.c copies
         the entry -> render.c writes id, question bytes, aged TTLs, OPT -> sendmmsg. No Python object, no GIL.
Miss.    serve.c files the query as a record in the slot's shared page and rings an eventfd -> worker.loop drains ->
         worker.forward joins equal questions (worker.elsewhere: those of other workers), answers what core.local
         knows -> core.upstreams picks -> worker.route's transports, udp, tcp or tls, ask ->
         native.make_entry checks the reply -> Server.store -> Server.answer to every waiter. Nobody answers, or with a
         failure: core.stale revives an expired entry where the zone allows it.
Start.   cli run -> config.parse -> supervisor.sockets opens -> supervisor.memory maps -> supervisor.spawn forks
         each slot -> each says ready by its pipe -> supervisor.loop waits, for ever, in one place.
Death.   a worker's pidfd becomes readable -> core.slots says what follows -> its epoch is raised (what it claimed in
         the table may be stolen) -> forked again on the same sockets and the same shared page -> it first answers what
         its predecessor had taken. The parent's death is EOF on the life pipe: workers leave.
Upgrade. a package replaces our files and then restarts us, or does not -> supervisor.snapshot has put all of our code
         into a file of its own since the start, and whoever is forked imports from there.
Switch.  supervisor.pulse and the monitor ask every address each second -> supervisor.health judges -> a good second is
         WATCHDOG=1 and supervisor.netlink's sign of life: the kernel steers to us for `fail_open_after` more. Nobody
         says it: host.netfilter.steering's rules send packets to kube-dns, with nothing of ours running.
Scrape.  monitor.web reads one request -> monitor.pages -> monitor.scrape reads the counters page -> monitor.rows and
         families name what is there, native.fill writes the numbers. What only the parent knows, supervisor.vitals has
         put there.
Repair.  supervisor.netlink hears a change of what is ours -> core.repair says when to look -> supervisor.machine forks
         host.apply, which compares core.plan's plan with the machine and carries out the difference.
Reload.  SIGHUP -> supervisor.reload parses and checks -> a canary worker on a private socket must answer -> workers are
         replaced one by one, each new one waiting warm before the old one leaves.
"""

__version__ = "0.1.0"
