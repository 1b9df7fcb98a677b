/* pyserve.c: Server (serve.h), and the counters as Python sees them. */
#include "binding.h"
#include <errno.h>

struct server_object {
    PyObject_HEAD
    struct server *server; /* not in the object: it is large and wants its alignment */
    PyObject *keep;        /* table, counters, slots: the mappings live as long as the loops */
    uint32_t epoch;
    uint8_t writer;
};

static PyTypeObject *server_type;

static struct server_object *server_of(PyObject *o)
{
    struct server_object *s = (struct server_object *)o;
    if (s->server)
        return s;
    PyErr_SetString(PyExc_TypeError, "an initialised native.Server is needed");
    return NULL;
}

static int take_sockets(struct server *s, PyObject *list)
{
    Py_ssize_t n = PySequence_Size(list);
    if (n < 1 || n > SOCKETS_MAX) {
        PyErr_Format(PyExc_ValueError, "1 to %d sockets, got %zd", SOCKETS_MAX, n);
        return -1;
    }
    for (s->sockets = 0; s->sockets < (unsigned)n; s->sockets++) {
        PyObject *o = PySequence_GetItem(list, s->sockets);
        long fd = o ? PyLong_AsLong(o) : -1;
        Py_XDECREF(o);
        if (fd == -1 && PyErr_Occurred())
            return -1;
        s->socket[s->sockets] = (int)fd;
    }
    return 0;
}

/* Calls take(s, index, item) for each of at most `most` items. */
static int take_each(struct server *s, PyObject *list, Py_ssize_t most, const char *what, int (*take)(struct server *, unsigned, PyObject *))
{
    Py_ssize_t n = PySequence_Size(list);
    if (n < 0 || n > most) {
        if (n > most)
            PyErr_Format(PyExc_ValueError, "at most %zd %s, got %zd", most, what, n);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PySequence_GetItem(list, i);
        int bad = !item || take(s, (unsigned)i, item) < 0;
        Py_XDECREF(item);
        if (bad)
            return -1;
    }
    return (int)n;
}

static int take_acl(struct server *s, unsigned i, PyObject *item)
{
    const char *address;
    Py_ssize_t len;
    if (!PyArg_ParseTuple(item, "y#I", &address, &len, &s->acl[i].bits))
        return -1;
    if (len != 16 || s->acl[i].bits > 128) {
        PyErr_SetString(PyExc_ValueError, "an acl item is (16 octets, bits up to 128)");
        return -1;
    }
    memcpy(s->acl[i].address, address, 16);
    return 0;
}

static int take_zone(struct server *s, unsigned i, PyObject *item)
{
    const char *name;
    Py_ssize_t len;
    if (!PyArg_ParseTuple(item, "y#I", &name, &len, &s->zone[i].tag))
        return -1;
    if (len < 1 || name_skip_plain((const uint8_t *)name, (size_t)len, 0) != (size_t)len) {
        PyErr_SetString(PyExc_ValueError, "a zone's name is in wire form");
        return -1;
    }
    name_lower(s->zone[i].name, (const uint8_t *)name, (size_t)len);
    s->zone[i].len = (uint16_t)len;
    return 0;
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
    static char *names[] = {"table", "counters", "slots", "slot", "sockets", "acl", "zones", NULL};
    struct server_object *o = (struct server_object *)self;
    PyObject *table, *counters, *slots, *sockets, *acl, *zones;
    unsigned slot;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOIOOO", names, &table, &counters, &slots, &slot, &sockets, &acl, &zones))
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
    o->writer = t->writer;
    o->epoch = t->epoch;
    o->keep = PyTuple_Pack(3, table, counters, slots);
    int n = take_sockets(o->server, sockets), a, z;
    if (n < 0 || (a = take_each(o->server, acl, ACL_MAX, "acl items", take_acl)) < 0 ||
        (z = take_each(o->server, zones, MAX_ZONES, "zones", take_zone)) < 0)
        return -1;
    o->server->acls = (unsigned)a;
    o->server->zones = (unsigned)z;
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
    unsigned limit, zone;
    uint8_t key[WIRE_KEY_MAX];
    size_t key_len;
    uint64_t taken;
    int64_t ref;
    if (!o || !PyArg_ParseTuple(args, "I", &limit))
        return NULL;
    PyObject *list = PyList_New(0);
    while (list && limit-- > 0 && (ref = miss_next(o->server, key, &key_len, &zone, &taken)) >= 0) {
        PyObject *item = Py_BuildValue("Ly#IK", (long long)ref, key, (Py_ssize_t)key_len, zone, (unsigned long long)taken);
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

static PyObject *py_store(PyObject *self, PyObject *args)
{
    static const enum counter counter[] = {[PUT_STORED] = C_stored, [PUT_LOST] = C_put_lost, [PUT_TOO_BIG] = C_too_big};
    struct server_object *o = server_of(self);
    const char *blob;
    Py_ssize_t len;
    int evicted;
    if (!o || !PyArg_ParseTuple(args, "y#", &blob, &len))
        return NULL;
    if (!wire_entry_ok((const uint8_t *)blob, (size_t)len))
        return PyErr_Format(PyExc_ValueError, "not an entry");
    enum put v = table_put(&o->server->table, (const uint8_t *)blob, (size_t)len, o->writer, o->epoch, clock_boottime_ms(), &evicted);
    if (v != PUT_DEAD)
        counter_add(o->server->block[LANE_MISS], counter[v], 1);
    if (v == PUT_STORED && evicted)
        counter_add(o->server->block[LANE_MISS], C_evicted, 1);
    return PyLong_FromLong(v);
}

/* Counts one TCP answer; the kernel marks no stream, so this is done before the write. */
static void count_tcp(struct server *s, const struct entry *e, int miss, const char *peer)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t rcode[16] = {[0] = Z_noerror, [2] = Z_servfail, [3] = Z_nxdomain, [5] = Z_refused};
    struct counter_block *b = s->block[LANE_MISS];
    struct note n = note_hit_of(e, 0);
    counter_add(b, C_answers, 1);
    if (e->zone >= MAX_ZONES)
        return;
    counter_add(b, zone_counter(e->zone, memcmp(peer, mapped, 12) == 0 ? Z_tcp4 : Z_tcp6), 1);
    counter_add(b, zone_counter(e->zone, miss ? Z_miss : n.how), 1);
    counter_add(b, zone_counter(e->zone, e->rcode == 0 || rcode[e->rcode & 15] ? rcode[e->rcode & 15] : Z_other), 1);
}

static uint8_t stream[65535]; /* under the GIL */

static PyObject *py_lookup(PyObject *self, PyObject *args)
{
    static const enum counter counter[] = {[QUERY_FORMERR] = C_formerr, [QUERY_NOTIMP] = C_notimp, [QUERY_BADVERS] = C_badvers,
                                           [QUERY_REFUSED] = C_transfer};
    struct server_object *o = server_of(self);
    const char *p, *peer;
    Py_ssize_t len, peer_len;
    struct client client;
    uint8_t key[WIRE_KEY_MAX];
    if (!o || !PyArg_ParseTuple(args, "y#y#", &p, &len, &peer, &peer_len))
        return NULL;
    struct server *s = o->server;
    struct counter_block *b = s->block[LANE_MISS];
    memset(&client, 0, sizeof client);
    client.udp_size = WIRE_UDP_PLAIN;
    enum verdict v = wire_parse_query((const uint8_t *)p, (size_t)len, 1, &client);
    if (v != QUERY_DROP && peer_len == 16 && !server_allows(s, (const uint8_t *)peer)) {
        counter_add(b, C_denied, 1);
        counter_add(b, C_answers, 1);
        return entry_bytes(stream, wire_error(QUERY_REFUSED, &client, EDE_PROHIBITED, stream));
    }
    if (v != QUERY_OK) {
        counter_add(b, v == QUERY_DROP ? C_silent : counter[v], 1);
        counter_add(b, C_answers, v != QUERY_DROP);
        return entry_bytes(stream, wire_error(v, &client, WIRE_NO_EDE, stream));
    }
    size_t key_len = wire_key(&client, key);
    uint64_t now = clock_boottime_ms();
    if (!server_get(s, key, key_len, now, s->late))
        return Py_BuildValue("y#Iy#", key, (Py_ssize_t)key_len, server_zone(s, key, key_len), &client, (Py_ssize_t)sizeof client);
    if (peer_len == 16)
        count_tcp(s, (const struct entry *)(const void *)s->late, 0, peer);
    return entry_bytes(stream, wire_render(s->late, &client, now, 65535, stream));
}

static PyObject *py_render_tcp(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    const char *blob, *peer;
    const struct client *client;
    Py_ssize_t len, client_len, peer_len;
    if (!o || !PyArg_ParseTuple(args, "y#y#y#", &blob, &len, &client, &client_len, &peer, &peer_len))
        return NULL;
    const struct entry *e = (const struct entry *)(const void *)blob;
    if (!wire_entry_ok((const uint8_t *)blob, (size_t)len) || client_len != sizeof *client || client->question_len != e->question_len)
        return PyErr_Format(PyExc_ValueError, "not an entry for this client");
    if (peer_len == 16)
        count_tcp(o->server, e, 1, peer);
    return entry_bytes(stream, wire_render((const uint8_t *)blob, client, clock_boottime_ms(), 65535, stream));
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
    {"lookup", py_lookup, METH_VARARGS, NULL},  {"render_tcp", py_render_tcp, METH_VARARGS, NULL},
    {"add", py_add, METH_VARARGS, NULL},        {"beat", py_beat, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef server_getset[] = {{"wake_fd", get_wake_fd, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot server_slots[] = {
    {Py_tp_init, server_init}, {Py_tp_dealloc, server_dealloc}, {Py_tp_methods, server_methods}, {Py_tp_getset, server_getset}, {0, NULL}};
static PyType_Spec server_spec = {"nodedns.native.Server", sizeof(struct server_object), 0, Py_TPFLAGS_DEFAULT, server_slots};

int add_server_types(PyObject *module) { return add_type(module, &server_spec, &server_type) < 0 || add_counters(module) < 0 ? -1 : 0; }
