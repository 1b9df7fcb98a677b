/* pyslots.c: what each slot counts and when it last beat, its two threads apart, as Python reads it (counters.h). */
#include "binding.h"

static struct memory *slots_of(PyObject *args, unsigned *n)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, "OI", &o, n))
        return NULL;
    return memory_of(o, counters_size(*n), 0);
}

static PyObject *py_read_beats(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots;
    struct memory *m = slots_of(args, &slots);
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

/* {name: value} of one thread. */
static PyObject *counters_of(const struct counter_block *block)
{
    PyObject *row = PyDict_New();
    for (unsigned i = 0; row && i < COUNTER_COUNT; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(atomic_load_explicit(&block->value[i], memory_order_relaxed));
        if (!value || PyDict_SetItemString(row, counter_name(i), value) < 0)
            Py_CLEAR(row);
        Py_XDECREF(value);
    }
    return row;
}

static PyObject *py_read_slot(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *o;
    unsigned slot;
    if (!PyArg_ParseTuple(args, "OI", &o, &slot))
        return NULL;
    if (slot >= TABLE_WRITERS)
        return PyErr_Format(PyExc_ValueError, "expected a slot below %u, got %u", (unsigned)TABLE_WRITERS, slot);
    struct memory *m = memory_of(o, counters_size(slot + 1), 0);
    PyObject *hit = m ? counters_of(counters_block(m->base, slot, LANE_HIT)) : NULL;
    PyObject *miss = hit ? counters_of(counters_block(m->base, slot, LANE_MISS)) : NULL;
    PyObject *both = miss ? PyTuple_Pack(2, hit, miss) : NULL;
    Py_XDECREF(hit);
    Py_XDECREF(miss);
    return both;
}

static PyMethodDef slot_functions[] = {{"read_beats", py_read_beats, METH_VARARGS, NULL},
                                       {"read_slot", py_read_slot, METH_VARARGS, NULL},
                                       {NULL, NULL, 0, NULL}};

int add_slots(PyObject *module) { return PyModule_AddFunctions(module, slot_functions); }
