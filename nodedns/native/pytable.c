/* pytable.c: Memory and Table. */
#include "binding.h"
#include <structmember.h>
#include <sys/mman.h>

static PyTypeObject *memory_type, *table_type;

static void memory_dealloc(PyObject *self)
{
    struct memory *m = (struct memory *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (m->base)
        munmap(m->base, (size_t)m->size);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int memory_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct memory *m = (struct memory *)self;
    return PyBuffer_FillInfo(view, self, m->base, m->size, !m->writable, flags);
}

struct memory *memory_of(PyObject *o, size_t least, int writable)
{
    struct memory *m = (struct memory *)o;
    if (!PyObject_TypeCheck(o, memory_type))
        PyErr_SetString(PyExc_TypeError, "a native.Memory is needed");
    else if ((size_t)m->size < least)
        PyErr_Format(PyExc_ValueError, "the mapping has %zd octets, %zu are needed", m->size, least);
    else if (writable && !m->writable)
        PyErr_SetString(PyExc_ValueError, "the mapping is read-only");
    else
        return m;
    return NULL;
}

static PyObject *py_map_file(PyObject *self, PyObject *args)
{
    (void)self;
    int fd, writable;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "inp", &fd, &size, &writable))
        return NULL;
    if (size <= 0)
        return PyErr_Format(PyExc_ValueError, "a mapping needs a positive size, got %zd", size);
    void *base = mmap(NULL, (size_t)size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    allocfunc alloc = (allocfunc)PyType_GetSlot(memory_type, Py_tp_alloc);
    struct memory *m = (struct memory *)alloc(memory_type, 0);
    if (!m) {
        munmap(base, (size_t)size);
        return NULL;
    }
    m->base = base;
    m->size = size;
    m->writable = writable;
    return (PyObject *)m;
}

static PyMemberDef memory_members[] = {{"size", T_PYSSIZET, offsetof(struct memory, size), READONLY, NULL}, {NULL, 0, 0, 0, NULL}};
static PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, memory_dealloc}, {Py_tp_members, memory_members}, {Py_bf_getbuffer, memory_buffer}, {0, NULL}};
static PyType_Spec memory_spec = {"nodedns.native.Memory", sizeof(struct memory), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, memory_slots};

/* The least file that holds a large bucket and a small one. */
enum { TABLE_LEAST = TABLE_FIXED + 2 * sizeof(struct bucket) + TABLE_WAYS * (TABLE_SMALL + TABLE_LARGE) };

static PyObject *py_table_format(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *o;
    unsigned long long seed;
    if (!PyArg_ParseTuple(args, "OK", &o, &seed))
        return NULL;
    struct memory *m = memory_of(o, TABLE_LEAST, 1);
    if (!m)
        return NULL;
    table_format(m->base, (uint64_t)m->size, seed);
    Py_RETURN_NONE;
}

static PyObject *py_table_check(PyObject *self, PyObject *o)
{
    (void)self;
    struct memory *m = memory_of(o, TABLE_LEAST, 0);
    if (!m)
        return NULL;
    const char *reason = table_check(m->base, (uint64_t)m->size);
    return Py_BuildValue("z", reason);
}

static int table_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"memory", "writer", NULL};
    struct table_object *t = (struct table_object *)self;
    PyObject *o;
    unsigned char writer = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|b", names, &o, &writer))
        return -1;
    struct memory *m = memory_of(o, TABLE_LEAST, 0);
    if (!m)
        return -1;
    const char *reason = table_check(m->base, (uint64_t)m->size);
    if (reason) {
        PyErr_Format(PyExc_ValueError, "the cache file is %s", reason);
        return -1;
    }
    table_open(&t->table, m->base, (uint64_t)m->size);
    t->writer = writer;
    t->epoch = table_epoch(&t->table, writer);
    Py_INCREF(o);
    Py_XDECREF(t->memory);
    t->memory = o;
    return 0;
}

static void table_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct table_object *)self)->memory);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

struct table_object *table_of(PyObject *o)
{
    struct table_object *t = (struct table_object *)o;
    if (PyObject_TypeCheck(o, table_type) && t->memory)
        return t;
    PyErr_SetString(PyExc_TypeError, "an initialised native.Table is needed");
    return NULL;
}

static PyObject *table_get_(PyObject *self, PyObject *args)
{
    struct table_object *t = table_of(self);
    _Alignas(8) uint8_t out[TABLE_LARGE];
    const char *key;
    Py_ssize_t len;
    unsigned long long now;
    if (!t || !PyArg_ParseTuple(args, "y#K", &key, &len, &now))
        return NULL;
    size_t n = len < 6 ? 0 : table_get(&t->table, (const uint8_t *)key, (size_t)len, wire_hash((const uint8_t *)key, (size_t)len, t->table.seed), now, out);
    ((struct entry *)(void *)out)->hits = 0; /* of the copy, for the hit loop alone */
    if (n && wire_entry_ok(out, n))
        return entry_bytes(out, n);
    Py_RETURN_NONE;
}

static struct table_object *writable_table(PyObject *self)
{
    struct table_object *t = table_of(self);
    return t && memory_of(t->memory, 0, 1) ? t : NULL;
}

static PyObject *table_put_(PyObject *self, PyObject *args)
{
    struct table_object *t = writable_table(self);
    const char *blob;
    Py_ssize_t len;
    unsigned long long now;
    int evicted;
    if (!t || !PyArg_ParseTuple(args, "y#K", &blob, &len, &now))
        return NULL;
    if (!wire_entry_ok((const uint8_t *)blob, (size_t)len))
        return PyErr_Format(PyExc_ValueError, "not an entry");
    enum put v = table_put(&t->table, (const uint8_t *)blob, (size_t)len, t->writer, t->epoch, now, &evicted);
    return PyLong_FromLong(v);
}

static PyObject *table_read_(PyObject *self, PyObject *args)
{
    struct table_object *t = table_of(self);
    _Alignas(8) uint8_t out[TABLE_LARGE];
    unsigned long long index;
    unsigned hits;
    if (!t || !PyArg_ParseTuple(args, "K", &index))
        return NULL;
    size_t n = table_read(&t->table, index, out, &hits);
    if (n && wire_entry_ok(out, n))
        return Py_BuildValue("y#I", out, (Py_ssize_t)n, hits);
    Py_RETURN_NONE;
}

static PyObject *table_raise_epoch_(PyObject *self, PyObject *args)
{
    struct table_object *t = writable_table(self);
    unsigned char writer;
    if (!t || !PyArg_ParseTuple(args, "b", &writer))
        return NULL;
    table_raise_epoch(&t->table, writer);
    Py_RETURN_NONE;
}

static PyObject *table_flush_(PyObject *self, PyObject *args)
{
    struct table_object *t = writable_table(self);
    unsigned long long now;
    if (!t || !PyArg_ParseTuple(args, "K", &now))
        return NULL;
    table_flush(&t->table, now);
    Py_RETURN_NONE;
}

static PyObject *table_mark_(PyObject *self, PyObject *args)
{
    struct table_object *t = writable_table(self);
    const char *key;
    Py_ssize_t len;
    unsigned long long now, ms;
    if (!t || !PyArg_ParseTuple(args, "y#KK", &key, &len, &now, &ms))
        return NULL;
    return PyLong_FromLong(table_mark(&t->table, wire_hash((const uint8_t *)key, (size_t)len, t->table.seed), t->writer, t->epoch, now, ms));
}

static PyObject *table_unmark_(PyObject *self, PyObject *args)
{
    struct table_object *t = writable_table(self);
    const char *key;
    Py_ssize_t len;
    if (!t || !PyArg_ParseTuple(args, "y#", &key, &len))
        return NULL;
    table_unmark(&t->table, wire_hash((const uint8_t *)key, (size_t)len, t->table.seed), t->writer);
    Py_RETURN_NONE;
}

static PyObject *table_limit_(PyObject *self, PyObject *args)
{
    struct table_object *t = writable_table(self);
    const char *address;
    Py_ssize_t len;
    unsigned rate;
    unsigned long long now;
    if (!t || !PyArg_ParseTuple(args, "y#IK", &address, &len, &rate, &now))
        return NULL;
    if (len != 16 || rate == 0)
        return PyErr_Format(PyExc_ValueError, "an address is 16 octets and a rate above 0");
    return PyBool_FromLong(table_limit(&t->table, (const uint8_t *)address, rate, now));
}

static PyObject *table_seed(PyObject *self, void *closure)
{
    (void)closure;
    struct table_object *t = table_of(self);
    return t ? PyLong_FromUnsignedLongLong(t->table.seed) : NULL;
}

static PyObject *table_slots_(PyObject *self, void *closure)
{
    (void)closure;
    struct table_object *t = table_of(self);
    return t ? PyLong_FromUnsignedLongLong(table_slots(&t->table)) : NULL;
}

static PyMethodDef table_methods[] = {{"get", table_get_, METH_VARARGS, NULL},
                                      {"put", table_put_, METH_VARARGS, NULL},
                                      {"read", table_read_, METH_VARARGS, NULL},
                                      {"raise_epoch", table_raise_epoch_, METH_VARARGS, NULL},
                                      {"flush", table_flush_, METH_VARARGS, NULL},
                                      {"mark", table_mark_, METH_VARARGS, NULL},
                                      {"unmark", table_unmark_, METH_VARARGS, NULL},
                                      {"limit", table_limit_, METH_VARARGS, NULL},
                                      {NULL, NULL, 0, NULL}};
static PyGetSetDef table_getset[] = {
    {"seed", table_seed, NULL, NULL, NULL}, {"slots", table_slots_, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot table_type_slots[] = {
    {Py_tp_init, table_init}, {Py_tp_dealloc, table_dealloc}, {Py_tp_methods, table_methods}, {Py_tp_getset, table_getset}, {0, NULL}};
static PyType_Spec table_spec = {"nodedns.native.Table", sizeof(struct table_object), 0, Py_TPFLAGS_DEFAULT, table_type_slots};

static PyMethodDef table_functions[] = {{"map_file", py_map_file, METH_VARARGS, NULL},
                                        {"table_format", py_table_format, METH_VARARGS, NULL},
                                        {"table_check", py_table_check, METH_O, NULL},
                                        {NULL, NULL, 0, NULL}};

int add_table_types(PyObject *module)
{
    if (add_type(module, &memory_spec, &memory_type) < 0 || add_type(module, &table_spec, &table_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, table_functions);
}
