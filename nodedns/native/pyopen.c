/* pyopen.c: what a Server is built from: sockets, clients it lets ask, zones. */
#include "binding.h"

static int take_socket(struct server *s, unsigned i, PyObject *item)
{
    long fd = PyLong_AsLong(item);
    s->socket[i] = (int)fd;
    return fd == -1 && PyErr_Occurred() ? -1 : 0;
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
    struct zone *z = &s->zone[i];
    if (!PyArg_ParseTuple(item, "y#Ibb", &name, &len, &s->table.tag[i], &z->prefetch_hits, &z->prefetch_percent))
        return -1;
    if (len < 1 || name_skip_plain((const uint8_t *)name, (size_t)len, 0) != (size_t)len) {
        PyErr_SetString(PyExc_ValueError, "a zone's name is in wire form");
        return -1;
    }
    name_lower(z->name, (const uint8_t *)name, (size_t)len);
    z->len = (uint16_t)len;
    return 0;
}

int server_take(struct server *s, PyObject *sockets, PyObject *acl, PyObject *zones)
{
    int n = take_each(s, sockets, SOCKETS_MAX, "sockets", take_socket);
    int a = n < 0 ? -1 : take_each(s, acl, ACL_MAX, "acl items", take_acl);
    int z = a < 0 ? -1 : take_each(s, zones, MAX_ZONES, "zones", take_zone);
    if (z < 0)
        return -1;
    s->sockets = (unsigned)n;
    s->acls = (unsigned)a;
    s->table.tags = s->zones = (unsigned)z;
    return 0;
}

int server_take_rows(struct server *s, const char *rows, Py_ssize_t len)
{
    size_t wanted = (size_t)s->sockets * (s->zones + 1) * sizeof(uint16_t);
    memset(s->row, 0xff, sizeof s->row); /* NO_ROW */
    if (!rows)
        return 0;
    if ((size_t)len != wanted) {
        PyErr_Format(PyExc_ValueError, "rows are two octets for each socket's zones and one more, %zu in all, got %zd", wanted, len);
        return -1;
    }
    for (unsigned i = 0; i < s->sockets; i++)
        for (unsigned z = 0; z <= s->zones; z++, rows += sizeof(uint16_t))
            memcpy(&s->row[i][z < s->zones ? z : MAX_ZONES], rows, sizeof(uint16_t));
    return 0;
}

int server_take_samples(struct server *s, unsigned slot, PyObject *samples, PyObject *wires)
{
    if (samples == Py_None)
        return 0;
    struct memory *m = memory_of(samples, samples_size(slot + 1), 1);
    struct memory *w = m && wires != Py_None ? memory_of(wires, wires_size(slot + 1), 1) : NULL;
    if (!m || (wires != Py_None && !w))
        return -1;
    for (unsigned lane = LANE_HIT; lane <= LANE_MISS; lane++) {
        unsigned ring = 2 * slot + lane;
        s->sampler[lane] = (struct sampler){samples_every(m->base), samples_ring(m->base, ring), w ? samples_wires(w->base, ring) : NULL, 0};
    }
    return 0;
}
