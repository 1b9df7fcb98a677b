/* pysamples.c: the samples as Python reads them (samples.h). */
#include "binding.h"

static PyObject *tuple_of(const struct sample *x, const uint8_t *wire)
{
    const struct note *n = &x->note;
    const uint8_t *end = x->question + x->question_len;
    size_t name = x->question_len >= 5 ? x->question_len - 4u : 0;
    unsigned type = name ? (unsigned)(end[-4] << 8 | end[-3]) : 0, class = name ? (unsigned)(end[-2] << 8 | end[-1]) : 0;
    return Py_BuildValue("KKIHHBBBBy#Hy#IIy#HHIHH", (unsigned long long)x->when, (unsigned long long)x->duration, x->weight, n->row, x->size, n->rcode,
                         n->how, n->proto, n->flags, x->client, (Py_ssize_t)sizeof x->client, x->port, x->question, (Py_ssize_t)name, type,
                         (unsigned)n->counter, wire, (Py_ssize_t)(wire ? x->wire_len : 0), x->id, x->bits, class, x->udp_size, n->request);
}

/* read_samples(samples, wires, ring, since, limit) -> (next, list) */
static PyObject *py_read_samples(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *samples, *wires;
    unsigned ring, limit;
    unsigned long long since;
    if (!PyArg_ParseTuple(args, "OOIKI", &samples, &wires, &ring, &since, &limit))
        return NULL;
    struct memory *m = memory_of(samples, samples_size(ring / 2 + 1), 0);
    struct memory *w = m && wires != Py_None ? memory_of(wires, wires_size(ring / 2 + 1), 0) : NULL;
    if (!m || (wires != Py_None && !w))
        return NULL;
    struct sample_ring *r = samples_ring(m->base, ring);
    sample_wire *octets = w ? samples_wires(w->base, ring) : NULL;
    static struct sample out; /* under the GIL */
    static sample_wire wire;
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire), number = since;
    if (number > head || head - number > SAMPLES)
        number = head > SAMPLES ? head - SAMPLES : 0;
    PyObject *list = PyList_New(0);
    for (; list && number < head && limit > 0; number++) {
        if (!sample_get(r, octets, number, &out, wire))
            continue;
        PyObject *item = tuple_of(&out, octets ? wire : NULL);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
        limit--;
    }
    return list ? Py_BuildValue("KN", (unsigned long long)number, list) : NULL;
}

static PyObject *py_samples_size(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots;
    return PyArg_ParseTuple(args, "I", &slots) ? PyLong_FromSize_t(samples_size(slots)) : NULL;
}

static PyObject *py_wires_size(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned slots;
    return PyArg_ParseTuple(args, "I", &slots) ? PyLong_FromSize_t(wires_size(slots)) : NULL;
}

static PyObject *py_sample_every(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *samples;
    int every;
    if (!PyArg_ParseTuple(args, "Op", &samples, &every))
        return NULL;
    struct memory *m = memory_of(samples, samples_size(0), 1);
    if (!m)
        return NULL;
    atomic_store(samples_every(m->base), (uint32_t)every);
    Py_RETURN_NONE;
}

static PyMethodDef sample_functions[] = {{"read_samples", py_read_samples, METH_VARARGS, NULL},
                                         {"samples_size", py_samples_size, METH_VARARGS, NULL},
                                         {"wires_size", py_wires_size, METH_VARARGS, NULL},
                                         {"sample_every", py_sample_every, METH_VARARGS, NULL},
                                         {NULL, NULL, 0, NULL}};

int add_samples(PyObject *module) { return PyModule_AddFunctions(module, sample_functions); }
