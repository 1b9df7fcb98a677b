/* pyparent.c: the parent's block of the counters page (counters.h). */
#include "binding.h"

static const char *const COUNTED[] = {
#define X(name, help) #name,
    PARENT_COUNTERS(X)
#undef X
};
static const char *const GAUGES[] = {
#define X(name, help) #name,
    PARENT_GAUGES(X)
#undef X
};

/* The place of `name` among `n`; -1 and KeyError. */
static int place_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    PyErr_Format(PyExc_KeyError, "nothing of the parent's is called %s", name);
    return -1;
}

/* Counters may also be added to by the monitor. */
static PyObject *py_count_parent(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *o;
    const char *name;
    unsigned long long n = 1;
    if (!PyArg_ParseTuple(args, "Os|K", &o, &name, &n))
        return NULL;
    struct memory *m = memory_of(o, counters_size(0), 1);
    int at = m ? place_of(name, COUNTED, PARENT_COUNT) : -1;
    if (at < 0)
        return NULL;
    atomic_fetch_add_explicit(&counters_parent(m->base)[at], n, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *py_note_parent(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *o;
    const char *name;
    unsigned long long value;
    if (!PyArg_ParseTuple(args, "OsK", &o, &name, &value))
        return NULL;
    struct memory *m = memory_of(o, counters_size(0), 1);
    int at = m ? place_of(name, GAUGES, GAUGE_COUNT) : -1;
    if (at < 0)
        return NULL;
    atomic_store_explicit(&counters_parent(m->base)[PARENT_COUNT + at], value, memory_order_relaxed);
    Py_RETURN_NONE;
}

/* {name: value} of `n` places from `first` on. */
static PyObject *values(PyObject *o, const char *const *names, int n, int first)
{
    struct memory *m = memory_of(o, counters_size(0), 0);
    PyObject *row = m ? PyDict_New() : NULL;
    for (int i = 0; row && i < n; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(atomic_load_explicit(&counters_parent(m->base)[first + i], memory_order_relaxed));
        if (!value || PyDict_SetItemString(row, names[i], value) < 0)
            Py_CLEAR(row);
        Py_XDECREF(value);
    }
    return row;
}

static PyObject *py_read_parent(PyObject *self, PyObject *o)
{
    (void)self;
    return values(o, COUNTED, PARENT_COUNT, 0);
}

static PyObject *py_read_gauges(PyObject *self, PyObject *o)
{
    (void)self;
    return values(o, GAUGES, GAUGE_COUNT, PARENT_COUNT);
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

int add_strings(PyObject *module, const char *name, const char *const *names, Py_ssize_t n)
{
    PyObject *tuple = strings(names, n);
    int r = tuple ? PyModule_AddObjectRef(module, name, tuple) : -1;
    Py_XDECREF(tuple);
    return r;
}

static PyMethodDef parent_functions[] = {{"read_parent", py_read_parent, METH_O, NULL},
                                         {"read_gauges", py_read_gauges, METH_O, NULL},
                                         {"count_parent", py_count_parent, METH_VARARGS, NULL},
                                         {"note_parent", py_note_parent, METH_VARARGS, NULL},
                                         {NULL, NULL, 0, NULL}};

int add_parent(PyObject *module)
{
    if (add_strings(module, "PARENT_NAMES", COUNTED, PARENT_COUNT) < 0 || add_strings(module, "GAUGE_NAMES", GAUGES, GAUGE_COUNT) < 0)
        return -1;
    return PyModule_AddFunctions(module, parent_functions);
}
