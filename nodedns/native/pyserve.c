/* pyserve.c: Server (serve.h), and the counters as Python sees them. */
#include "binding.h"
#include <errno.h>

static PyTypeObject *server_type;

struct server_object *server_of(PyObject *o)
{
    struct server_object *s = (struct server_object *)o;
    if (s->server)
        return s;
    PyErr_SetString(PyExc_TypeError, "an initialised native.Server is needed");
    return NULL;
}

static int open_server(struct server_object *o, struct memory *counters, struct memory *slots, unsigned slot)
{
    struct server *s = o->server;
    s->page = (struct slot_page *)((char *)slots->base + slot * SLOT_SIZE_BYTES);
    for (int lane = LANE_HIT; lane <= LANE_MISS; lane++)
        s->block[lane] = counters_block(counters->base, slot, lane);
    if (server_open(s) == 0)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static int server_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"table", "counters", "slots", "slot", "sockets", "acl", "zones", "rate", "rows", "samples", "wires", NULL};
    struct server_object *o = (struct server_object *)self;
    PyObject *table, *counters, *slots, *sockets, *acl, *zones, *samples = Py_None, *wires = Py_None;
    const char *rows = NULL;
    Py_ssize_t rows_len = 0;
    unsigned slot, rate = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOIOOO|Iy#OO", names, &table, &counters, &slots, &slot, &sockets, &acl, &zones, &rate,
                                     &rows, &rows_len, &samples, &wires))
        return -1;
    struct table_object *t = table_of(table);
    struct memory *c = t ? memory_of(counters, counters_size(slot + 1), 1) : NULL;
    struct memory *m = c ? memory_of(slots, (slot + 1) * SLOT_SIZE_BYTES, 1) : NULL;
    if (!m || o->server || slot >= TABLE_WRITERS)
        return -1;
    o->server = aligned_alloc(64, (sizeof(struct server) + 63) & ~(size_t)63);
    if (!o->server) {
        PyErr_NoMemory();
        return -1;
    }
    memset(o->server, 0, sizeof *o->server);
    o->server->epoll = o->server->wake = o->server->stop = -1;
    o->server->table = t->table;
    o->server->writer = t->writer;
    o->server->epoch = t->epoch;
    o->server->rate = rate;
    o->keep = PyTuple_Pack(5, table, counters, slots, samples, wires);
    if (server_take(o->server, sockets, acl, zones) < 0 || server_take_rows(o->server, rows, rows_len) < 0 ||
        server_take_samples(o->server, slot, samples, wires) < 0)
        return -1;
    return open_server(o, c, m, slot);
}

static void server_dealloc(PyObject *self)
{
    struct server_object *o = (struct server_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (o->server)
        server_close(o->server);
    free(o->server);
    Py_XDECREF(o->keep);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *py_run(PyObject *self, PyObject *args)
{
    (void)args;
    struct server_object *o = server_of(self);
    int r;
    if (!o)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    r = server_run(o->server);
    Py_END_ALLOW_THREADS
    if (r < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *py_stop(PyObject *self, PyObject *args)
{
    (void)args;
    struct server_object *o = server_of(self);
    if (!o)
        return NULL;
    uint64_t one = 1;
    if (write(o->server->stop, &one, sizeof one) < 0 && errno != EAGAIN)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *py_drain(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    unsigned limit;
    struct question q;
    uint64_t taken;
    int64_t ref;
    if (!o || !PyArg_ParseTuple(args, "I", &limit))
        return NULL;
    PyObject *list = PyList_New(0);
    while (list && limit-- > 0 && (ref = miss_next(o->server, &q, &taken)) >= 0) {
        PyObject *item = Py_BuildValue("Ly#IK", (long long)ref, q.key, (Py_ssize_t)q.key_len, server_zone(o->server, q.key, q.key_len),
                                       (unsigned long long)taken);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    miss_flush(o->server);
    return list;
}

static PyObject *py_answer(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    PyObject *refs;
    const char *blob;
    Py_ssize_t len;
    if (!o || !PyArg_ParseTuple(args, "O!y#", &PyList_Type, &refs, &blob, &len))
        return NULL;
    if (!wire_entry_ok((const uint8_t *)blob, (size_t)len))
        return PyErr_Format(PyExc_ValueError, "not an entry");
    uint64_t now = clock_boottime_ms();
    Py_ssize_t n = PyList_Size(refs);
    for (Py_ssize_t i = 0; i < n; i++) {
        unsigned long ref = PyLong_AsUnsignedLong(PyList_GetItem(refs, i));
        if (ref == (unsigned long)-1 && PyErr_Occurred())
            return NULL;
        if (ref < MISSES && o->server->page->miss[ref].client.question_len == ((const struct entry *)(const void *)blob)->question_len)
            miss_answer(o->server, (uint32_t)ref, (const uint8_t *)blob, now);
    }
    Py_RETURN_NONE;
}

static PyObject *py_flush(PyObject *self, PyObject *args)
{
    (void)args;
    struct server_object *o = server_of(self);
    if (!o)
        return NULL;
    miss_flush(o->server);
    Py_RETURN_NONE;
}

static uint8_t stream[65535]; /* under the GIL */

static PyObject *py_lookup(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    const char *p, *address;
    Py_ssize_t len, address_len;
    struct peer peer;
    struct question q;
    struct stream_query waits;
    unsigned port, sock;
    size_t n;
    if (!o || !PyArg_ParseTuple(args, "y#y#II", &p, &len, &address, &address_len, &port, &sock))
        return NULL;
    if (address_len != sizeof peer.address)
        return PyErr_Format(PyExc_ValueError, "a peer is 16 octets of address, got %zd", address_len);
    memcpy(peer.address, address, sizeof peer.address);
    peer.port = (uint16_t)port;
    peer.sock = (uint16_t)sock;
    if (stream_answer(o->server, (const uint8_t *)p, (size_t)len, &peer, &q, &waits, stream, &n))
        return entry_bytes(stream, n);
    return Py_BuildValue("y#Iy#", q.key, (Py_ssize_t)q.key_len, server_zone(o->server, q.key, q.key_len), &waits, (Py_ssize_t)sizeof waits);
}

static PyObject *py_render_tcp(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    const char *blob, *query;
    struct stream_query waits;
    Py_ssize_t len, query_len;
    if (!o || !PyArg_ParseTuple(args, "y#y#", &blob, &len, &query, &query_len))
        return NULL;
    if (query_len == sizeof waits)
        memcpy(&waits, query, sizeof waits);
    if (query_len != sizeof waits || !wire_entry_ok((const uint8_t *)blob, (size_t)len) ||
        waits.client.question_len != ((const struct entry *)(const void *)blob)->question_len)
        return PyErr_Format(PyExc_ValueError, "not an entry for this query");
    return entry_bytes(stream, stream_render(o->server, (const uint8_t *)blob, &waits, stream));
}

static PyObject *py_add(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    const char *name;
    unsigned long long n = 1;
    if (!o || !PyArg_ParseTuple(args, "s|K", &name, &n))
        return NULL;
    int index = counter_index(name);
    if (index >= 0) {
        counter_add(o->server->block[LANE_MISS], (unsigned)index, n);
        Py_RETURN_NONE;
    }
    return PyErr_Format(PyExc_KeyError, "no counter %s", name);
}

static PyObject *py_beat(PyObject *self, PyObject *args)
{
    (void)args;
    struct server_object *o = server_of(self);
    if (!o)
        return NULL;
    atomic_store_explicit(&o->server->block[LANE_MISS]->beat, clock_monotonic_ms(), memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *get_wake_fd(PyObject *self, void *closure)
{
    (void)closure;
    struct server_object *o = server_of(self);
    return o ? PyLong_FromLong(o->server->wake) : NULL;
}

static PyMethodDef server_methods[] = {
    {"run", py_run, METH_NOARGS, NULL},         {"stop", py_stop, METH_NOARGS, NULL},
    {"drain", py_drain, METH_VARARGS, NULL},    {"answer", py_answer, METH_VARARGS, NULL},
    {"flush", py_flush, METH_NOARGS, NULL},     {"store", py_store, METH_VARARGS, NULL},
    {"stale", py_stale, METH_VARARGS, NULL},    {"mark", py_mark, METH_VARARGS, NULL},
    {"awaited", py_awaited, METH_VARARGS, NULL},
    {"lookup", py_lookup, METH_VARARGS, NULL},  {"render_tcp", py_render_tcp, METH_VARARGS, NULL},
    {"add", py_add, METH_VARARGS, NULL},        {"beat", py_beat, METH_NOARGS, NULL},
    {"count_upstream", py_count_upstream, METH_VARARGS, NULL}, {"count_reply", py_count_reply, METH_VARARGS, NULL},
    {"note_upstream", py_note_upstream, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef server_getset[] = {{"wake_fd", get_wake_fd, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot server_slots[] = {
    {Py_tp_init, server_init}, {Py_tp_dealloc, server_dealloc}, {Py_tp_methods, server_methods}, {Py_tp_getset, server_getset}, {0, NULL}};
static PyType_Spec server_spec = {"nodedns.native.Server", sizeof(struct server_object), 0, Py_TPFLAGS_DEFAULT, server_slots};

int add_server_types(PyObject *module) { return add_type(module, &server_spec, &server_type) < 0 || add_counters(module) < 0 ? -1 : 0; }
