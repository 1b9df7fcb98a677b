/* pycounters.c: the counters page as Python reads it (counters.h); pyparent.c has the parent's block. */
#include "binding.h"

static const char *const NAMES[] = {
#define X(name, help) #name,
    COUNTERS(X)
#undef X
};
static const char *const HELP[] = {
#define X(name, help) help,
    COUNTERS(X)
#undef X
};
static const char *const TYPE_NAMES[] = {
#define X(name, number) #name,
    TYPES(X)
#undef X
    "other"};
struct field { const char *name; size_t offset, length; };
static const struct field ROW[] = {
#define X(name, n) {#name, offsetof(struct row_shape, name) / 8, (n)},
    ROW_FIELDS(X)
#undef X
};
static const struct field UPSTREAM[] = {
#define X(name, n) {#name, offsetof(struct upstream_shape, name) / 8, (n)},
    UPSTREAM_FIELDS(X)
#undef X
};
#define LENGTH(array) (Py_ssize_t)(sizeof(array) / sizeof *(array))

int counter_index(const char *name)
{
    for (int i = 0; i < COUNTER_COUNT; i++)
        if (strcmp(NAMES[i], name) == 0)
            return i;
    return -1;
}

const char *counter_name(unsigned index) { return NAMES[index]; }

static uint64_t total(struct memory *m, unsigned slots, unsigned index)
{
    uint64_t sum = 0;
    for (unsigned slot = 0; slot < slots; slot++)
        for (int lane = LANE_HIT; lane <= LANE_MISS; lane++)
            sum += atomic_load_explicit(&counters_block(m->base, slot, lane)->value[index], memory_order_relaxed);
    return sum;
}

/* {name: total} of `n` counters from `first` on. */
static PyObject *totals(struct memory *m, unsigned slots, const char *const *names, unsigned n, unsigned first)
{
    PyObject *row = PyDict_New();
    for (unsigned i = 0; row && i < n; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(total(m, slots, first + i));
        if (!value || PyDict_SetItemString(row, names[i], value) < 0)
            Py_CLEAR(row);
        Py_XDECREF(value);
    }
    return row;
}

static struct memory *counters_of(PyObject *args, unsigned *slots)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "OI", &o, slots))
        return NULL;
    return memory_of(o, counters_size(*slots), 0);
}

static PyObject *py_read_counters(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots;
    struct memory *m = counters_of(args, &slots);
    return m ? totals(m, slots, NAMES, COUNTER_COUNT, 0) : NULL;
}

/* The sums of `n` values from `first` on, as octets. */
static PyObject *sums(struct memory *m, unsigned slots, unsigned first, unsigned n)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n * 8);
    uint64_t *sum = bytes ? (uint64_t *)(void *)PyBytes_AsString(bytes) : NULL;
    for (unsigned i = 0; sum && i < n; i++)
        sum[i] = total(m, slots, first + i);
    return bytes;
}

static struct memory *row_args(PyObject *args, unsigned most, unsigned *slots, unsigned *row)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "OII", &o, slots, row))
        return NULL;
    if (*row < most)
        return memory_of(o, counters_size(*slots), 0);
    PyErr_Format(PyExc_ValueError, "expected a row below %u, got %u", most, *row);
    return NULL;
}

static PyObject *py_read_row(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots, row;
    struct memory *m = row_args(args, ROWS, &slots, &row);
    return m ? sums(m, slots, COUNTER_COUNT + row * ROW_VALUES, ROW_VALUES) : NULL;
}

/* Counters summed, gauges of each slot behind them. */
static PyObject *py_read_upstream(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots, upstream;
    struct memory *m = row_args(args, UPSTREAMS, &slots, &upstream);
    PyObject *counters = m ? sums(m, slots, UPSTREAM_AT(upstream, sent), offsetof(struct upstream_shape, state) / 8) : NULL;
    PyObject *gauges = counters ? PyList_New(0) : NULL;
    for (unsigned slot = 0; gauges && slot < slots; slot++) {
        const _Atomic uint64_t *v = &counters_block(m->base, slot, LANE_MISS)->value[UPSTREAM_AT(upstream, state)];
        PyObject *item = Py_BuildValue("KKK", (unsigned long long)v[0], (unsigned long long)v[1], (unsigned long long)v[2]);
        if (!item || PyList_Append(gauges, item) < 0)
            Py_CLEAR(gauges);
        Py_XDECREF(item);
    }
    PyObject *both = gauges ? PyTuple_Pack(2, counters, gauges) : NULL;
    Py_XDECREF(counters);
    Py_XDECREF(gauges);
    return both;
}

/* Makes a row, or an upstream, of another name begin with 0. Nobody writes to it. */
static PyObject *clear(PyObject *args, unsigned most, unsigned base, unsigned values)
{
    unsigned slots, row;
    struct memory *m = row_args(args, most, &slots, &row);
    if (!m || !memory_of((PyObject *)m, 0, 1))
        return NULL;
    for (unsigned slot = 0; slot < slots; slot++)
        for (int lane = LANE_HIT; lane <= LANE_MISS; lane++)
            memset(&counters_block(m->base, slot, lane)->value[base + row * values], 0, values * 8);
    Py_RETURN_NONE;
}

static PyObject *py_clear_row(PyObject *self, PyObject *args)
{
    (void)self;
    return clear(args, ROWS, COUNTER_COUNT, ROW_VALUES);
}

static PyObject *py_clear_upstream(PyObject *self, PyObject *args)
{
    (void)self;
    return clear(args, UPSTREAMS, JOURNALED, UPSTREAM_VALUES);
}

static PyObject *py_counters_size(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots;
    if (!PyArg_ParseTuple(args, "I", &slots))
        return NULL;
    return PyLong_FromSize_t(counters_size(slots));
}

static PyObject *py_table_stats(PyObject *self, PyObject *args)
{
    static const char *const names[] = {"success", "denial", "failure", "expired", "unused"};
    (void)self;
    PyObject *o;
    unsigned long long now, first = 0, most = UINT64_MAX;
    if (!PyArg_ParseTuple(args, "OK|KK", &o, &now, &first, &most))
        return NULL;
    struct table_object *t = table_of(o);
    if (!t)
        return NULL;
    static _Alignas(8) uint8_t out[TABLE_LARGE]; /* under the GIL */
    unsigned long long n[5] = {0}, slots = table_slots(&t->table), small = (unsigned long long)t->table.buckets[0] * TABLE_WAYS;
    uint64_t flushed = atomic_load(&t->table.header->flushed);
    for (uint64_t i = first; i < slots && most; i++, most--) {
        unsigned hits;
        struct entry *e = (struct entry *)(void *)out;
        size_t len = table_read(&t->table, i, out, &hits);
        n[!len || !e->wire_len ? 4 : e->expires <= now || e->inserted <= flushed ? 3 : e->kind <= KIND_FAILURE ? e->kind : 4]++;
    }
    PyObject *row = Py_BuildValue("{sKsK}", "small", small, "large", slots - small);
    for (int i = 0; row && i < 5; i++) {
        PyObject *v = PyLong_FromUnsignedLongLong(n[i]);
        if (!v || PyDict_SetItemString(row, names[i], v) < 0)
            Py_CLEAR(row);
        Py_XDECREF(v);
    }
    return row;
}

/* {name: (offset, length)} */
static int add_fields(PyObject *module, const char *name, const struct field *field, Py_ssize_t n)
{
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict && i < n; i++) {
        PyObject *item = Py_BuildValue("kk", (unsigned long)field[i].offset, (unsigned long)field[i].length);
        if (!item || PyDict_SetItemString(dict, field[i].name, item) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(item);
    }
    int r = dict ? PyModule_AddObjectRef(module, name, dict) : -1;
    Py_XDECREF(dict);
    return r;
}

static PyMethodDef counter_functions[] = {{"counters_size", py_counters_size, METH_VARARGS, NULL},
                                          {"read_counters", py_read_counters, METH_VARARGS, NULL},
                                          {"read_row", py_read_row, METH_VARARGS, NULL},
                                          {"read_upstream", py_read_upstream, METH_VARARGS, NULL},
                                          {"clear_row", py_clear_row, METH_VARARGS, NULL},
                                          {"clear_upstream", py_clear_upstream, METH_VARARGS, NULL},
                                          {"table_stats", py_table_stats, METH_VARARGS, NULL},
                                          {NULL, NULL, 0, NULL}};

int add_counters(PyObject *module)
{
    if (add_strings(module, "COUNTER_NAMES", NAMES, COUNTER_COUNT) < 0 || add_strings(module, "COUNTER_HELP", HELP, COUNTER_COUNT) < 0 ||
        add_strings(module, "TYPE_NAMES", TYPE_NAMES, TYPE_CLASSES) < 0 || add_parent(module) < 0 || add_fields(module, "ROW", ROW, LENGTH(ROW)) < 0 || add_fields(module, "UPSTREAM", UPSTREAM, LENGTH(UPSTREAM)) < 0)
        return -1;
    return PyModule_AddFunctions(module, counter_functions);
}
