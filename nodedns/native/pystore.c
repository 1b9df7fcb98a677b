/* pystore.c: what the miss loop does with the table: store, mark, wait, look for what has expired (table.h). */
#include "binding.h"

static const uint8_t *entry_key(const uint8_t *blob, uint8_t *key)
{
    const struct entry *e = (const struct entry *)(const void *)blob;
    memcpy(key, blob + sizeof *e + WIRE_HEADER, e->question_len);
    key[e->question_len] = e->key_flags;
    return key;
}

PyObject *py_store(PyObject *self, PyObject *args)
{
    static const enum counter counter[] = {[PUT_STORED] = C_stored, [PUT_LOST] = C_put_lost, [PUT_TOO_BIG] = C_too_big};
    struct server_object *o = server_of(self);
    const char *blob;
    Py_ssize_t len;
    int evicted;
    uint8_t key_buffer[WIRE_KEY_MAX];
    if (!o || !PyArg_ParseTuple(args, "y#", &blob, &len))
        return NULL;
    if (!wire_entry_ok((const uint8_t *)blob, (size_t)len))
        return PyErr_Format(PyExc_ValueError, "not an entry");
    struct server *s = o->server;
    const struct entry *e = (const struct entry *)(const void *)blob;
    const uint8_t *key = entry_key((const uint8_t *)blob, key_buffer);
    if (e->kind == KIND_FAILURE && table_get(&s->table, key, e->question_len + 1u, e->hash, clock_boottime_ms(), s->late) &&
        ((const struct entry *)(const void *)s->late)->kind != KIND_FAILURE)
        return PyLong_FromLong(PUT_DEAD); /* a refresh that failed: what is there lives on, and its mark stays */
    enum put v = table_put(&s->table, (const uint8_t *)blob, (size_t)len, s->writer, s->epoch, clock_boottime_ms(), &evicted);
    table_unmark(&s->table, e->hash, s->writer);
    if (v != PUT_DEAD)
        counter_add(o->server->block[LANE_MISS], counter[v], 1);
    if (v == PUT_STORED && evicted)
        counter_add(o->server->block[LANE_MISS], e->kind == KIND_SUCCESS ? C_evicted_success : C_evicted_denial, 1);
    return PyLong_FromLong(v);
}

PyObject *py_stale(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    _Alignas(8) uint8_t out[TABLE_LARGE];
    const char *data;
    Py_ssize_t len;
    if (!o || !PyArg_ParseTuple(args, "y#", &data, &len))
        return NULL;
    const struct table *t = &o->server->table;
    const uint8_t *key = (const uint8_t *)data;
    size_t n = len < 6 ? 0 : table_get_stale(t, key, (size_t)len, wire_hash(key, (size_t)len, t->seed), clock_boottime_ms(), out);
    if (n && wire_entry_ok(out, n))
        return PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)n);
    Py_RETURN_NONE;
}

PyObject *py_mark(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    const char *key;
    Py_ssize_t len;
    unsigned ms;
    if (!o || !PyArg_ParseTuple(args, "y#I", &key, &len, &ms))
        return NULL;
    struct server *s = o->server;
    uint64_t hash = wire_hash((const uint8_t *)key, (size_t)len, s->table.seed);
    return PyBool_FromLong(table_mark(&s->table, hash, s->writer, s->epoch, clock_boottime_ms(), ms) == MARK_OTHER);
}

PyObject *py_awaited(PyObject *self, PyObject *args)
{
    struct server_object *o = server_of(self);
    const char *data;
    Py_ssize_t len;
    if (!o || !PyArg_ParseTuple(args, "y#", &data, &len))
        return NULL;
    struct server *s = o->server;
    const uint8_t *key = (const uint8_t *)data;
    uint64_t now = clock_boottime_ms(), hash = wire_hash(key, (size_t)len, s->table.seed);
    int held = table_marked(&s->table, hash, s->writer, now); /* first: it is taken away behind the entry's being stored */
    size_t n = len < 6 ? 0 : table_get(&s->table, key, (size_t)len, hash, now, s->late);
    return n && wire_entry_ok(s->late, n) ? PyBytes_FromStringAndSize((const char *)s->late, (Py_ssize_t)n) : PyBool_FromLong(held);
}
