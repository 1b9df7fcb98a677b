/* pyupstream.c: what the miss loop counts of each server it asks (counters.h). */
#include "binding.h"

static int upstream_ok(unsigned upstream, unsigned long long index, unsigned most)
{
    if (upstream < UPSTREAMS && index < most)
        return 1;
    PyErr_Format(PyExc_ValueError, "expected an upstream below %d and an index below %u, got %u and %llu", UPSTREAMS, most, upstream, index);
    return 0;
}

/* count_upstream(upstream, field, n): field is an offset into the row. */
PyObject *py_count_upstream(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    unsigned upstream, field;
    unsigned long long n = 1;
    if (!o || !PyArg_ParseTuple(args, "II|K", &upstream, &field, &n) || !upstream_ok(upstream, field, UPSTREAM_VALUES))
        return NULL;
    counter_add(o->server->block[LANE_MISS], UPSTREAM_AT(upstream, sent) + field, n);
    Py_RETURN_NONE;
}

/* count_reply(upstream, rcode, ns) */
PyObject *py_count_reply(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    unsigned upstream;
    unsigned char rcode;
    unsigned long long ns;
    if (!o || !PyArg_ParseTuple(args, "IbK", &upstream, &rcode, &ns) || !upstream_ok(upstream, 0, 1))
        return NULL;
    struct counter_block *b = o->server->block[LANE_MISS];
    unsigned class = class_of_reply(rcode);
    counter_add(b, UPSTREAM_AT(upstream, replies) + class * DURATIONS + duration_bucket(ns), 1);
    counter_add(b, UPSTREAM_AT(upstream, reply_ns) + class, ns);
    Py_RETURN_NONE;
}

/* note_upstream(upstream, state, rtt_ns, sockets): the gauges. */
PyObject *py_note_upstream(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    unsigned upstream;
    unsigned long long value[3];
    if (!o || !PyArg_ParseTuple(args, "IKKK", &upstream, &value[0], &value[1], &value[2]) || !upstream_ok(upstream, 0, 1))
        return NULL;
    for (unsigned i = 0; i < 3; i++)
        atomic_store_explicit(&o->server->block[LANE_MISS]->value[UPSTREAM_AT(upstream, state) + i], value[i], memory_order_relaxed);
    Py_RETURN_NONE;
}
