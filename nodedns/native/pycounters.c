/* pycounters.c: the counters page as Python reads it (counters.h). */
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
static const char *const ZONE_NAMES[] = {
#define X(name, help) #name,
    ZONE_COUNTERS(X)
#undef X
};

int counter_index(const char *name)
{
    for (int i = 0; i < COUNTER_COUNT; i++)
        if (strcmp(NAMES[i], name) == 0)
            return i;
    return -1;
}

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
    PyObject *all = m ? totals(m, slots, NAMES, COUNTER_COUNT, 0) : NULL;
    PyObject *rows = all ? PyList_New(MAX_ZONES) : NULL;
    for (unsigned zone = 0; rows && zone < MAX_ZONES; zone++) {
        PyObject *row = totals(m, slots, ZONE_NAMES, ZONE_COUNTER_COUNT, zone_counter(zone, 0));
        if (!row || PyList_SetItem(rows, zone, row) < 0)
            Py_CLEAR(rows);
    }
    PyObject *both = rows ? PyTuple_Pack(2, all, rows) : NULL;
    Py_XDECREF(all);
    Py_XDECREF(rows);
    return both;
}

static PyObject *py_read_beats(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots;
    struct memory *m = counters_of(args, &slots);
    PyObject *list = m ? PyList_New(0) : NULL;
    for (unsigned slot = 0; list && slot < slots; slot++) {
        unsigned long long beat[2];
        for (int lane = LANE_HIT; lane <= LANE_MISS; lane++)
            beat[lane] = atomic_load_explicit(&counters_block(m->base, slot, lane)->beat, memory_order_relaxed);
        PyObject *pair = Py_BuildValue("KK", beat[LANE_HIT], beat[LANE_MISS]);
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
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
    unsigned long long now;
    if (!PyArg_ParseTuple(args, "OK", &o, &now))
        return NULL;
    struct table_object *t = table_of(o);
    if (!t)
        return NULL;
    static _Alignas(8) uint8_t out[TABLE_LARGE]; /* under the GIL */
    unsigned long long n[5] = {0}, slots = table_slots(&t->table), small = (unsigned long long)t->table.buckets[0] * TABLE_WAYS;
    uint64_t flushed = atomic_load(&t->table.header->flushed);
    for (uint64_t i = 0; i < slots; i++) {
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

static PyObject *strings(const char *const *names, Py_ssize_t n)
{
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++) {
        PyObject *s = PyUnicode_FromString(names[i]);
        if (!s || PyTuple_SetItem(tuple, i, s) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static int add_strings(PyObject *module, const char *name, const char *const *names, Py_ssize_t n)
{
    PyObject *tuple = strings(names, n);
    int r = tuple ? PyModule_AddObjectRef(module, name, tuple) : -1;
    Py_XDECREF(tuple);
    return r;
}

static PyMethodDef counter_functions[] = {{"counters_size", py_counters_size, METH_VARARGS, NULL},
                                          {"read_counters", py_read_counters, METH_VARARGS, NULL},
                                          {"read_beats", py_read_beats, METH_VARARGS, NULL},
                                          {"table_stats", py_table_stats, METH_VARARGS, NULL},
                                          {NULL, NULL, 0, NULL}};

int add_counters(PyObject *module)
{
    if (add_strings(module, "COUNTER_NAMES", NAMES, COUNTER_COUNT) < 0 || add_strings(module, "COUNTER_HELP", HELP, COUNTER_COUNT) < 0 ||
        add_strings(module, "ZONE_COUNTER_NAMES", ZONE_NAMES, ZONE_COUNTER_COUNT) < 0)
        return -1;
    return PyModule_AddFunctions(module, counter_functions);
}
