/* module.c: the module, and its functions over bytes (wire.h). */
#include "binding.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif

PyObject *entry_bytes(const uint8_t *blob, size_t len) { return PyBytes_FromStringAndSize((const char *)blob, (Py_ssize_t)len); }

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **keep)
{
    const char *name = strrchr(spec->name, '.') + 1;
    *keep = (PyTypeObject *)PyType_FromSpec(spec);
    return *keep ? PyModule_AddObjectRef(module, name, (PyObject *)*keep) : -1;
}

static int key_ok(const char *key, Py_ssize_t len)
{
    if (len >= 6 && len <= WIRE_KEY_MAX && name_skip_plain((const uint8_t *)key, (size_t)len - 5, 0) == (size_t)len - 5)
        return 1;
    PyErr_Format(PyExc_ValueError, "a key is a name in wire form, type, class and flags, at most %d octets; got %zd", WIRE_KEY_MAX, len);
    return 0;
}

static int client_ok(Py_ssize_t len, const struct client *c)
{
    if (len == sizeof *c && c->question_len <= WIRE_QUESTION_MAX && c->udp_size >= WIRE_UDP_PLAIN && c->udp_size <= WIRE_UDP_MAX)
        return 1;
    PyErr_SetString(PyExc_ValueError, "not a client record of parse_query()");
    return 0;
}

/* Gives back what start-up has freed: a third of a MiB of a parent that then allocates next to nothing. */
static PyObject *py_trim(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    Py_RETURN_NONE;
}

static PyObject *py_now(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromUnsignedLongLong(clock_boottime_ms());
}

static PyObject *py_parse_query(PyObject *self, PyObject *args)
{
    (void)self;
    const char *p;
    Py_ssize_t len;
    int tcp = 0;
    struct client client;
    uint8_t key[WIRE_KEY_MAX];
    if (!PyArg_ParseTuple(args, "y#|p", &p, &len, &tcp))
        return NULL;
    memset(&client, 0, sizeof client);
    client.udp_size = WIRE_UDP_PLAIN;
    enum verdict v = wire_parse_query((const uint8_t *)p, (size_t)len, tcp, &client);
    if (!client.question_len)
        return Py_BuildValue("iOy#", v, Py_None, &client, (Py_ssize_t)sizeof client);
    size_t n = wire_key(&client, key);
    return Py_BuildValue("iy#y#", v, key, (Py_ssize_t)n, &client, (Py_ssize_t)sizeof client);
}

static PyObject *py_make_query(PyObject *self, PyObject *args)
{
    (void)self;
    const char *key;
    Py_ssize_t len;
    unsigned id;
    uint8_t out[WIRE_HEADER + WIRE_QUESTION_MAX + WIRE_OPT];
    if (!PyArg_ParseTuple(args, "y#I", &key, &len, &id) || !key_ok(key, len))
        return NULL;
    return entry_bytes(out, wire_make_query((const uint8_t *)key, (size_t)len, (uint16_t)id, out));
}

static PyObject *py_make_entry(PyObject *self, PyObject *args)
{
    (void)self;
    static uint8_t out[WIRE_ENTRY_MAX]; /* under the GIL */
    const char *key, *reply;
    Py_ssize_t key_len, len;
    unsigned long long seed, now;
    struct policy p;
    size_t n = 0;
    if (!PyArg_ParseTuple(args, "y#y#K(IIIIIIH)K", &key, &key_len, &reply, &len, &seed, &p.success_max, &p.success_min, &p.denial_max,
                          &p.denial_min, &p.failure, &p.zone_tag, &p.zone, &now) || !key_ok(key, key_len))
        return NULL;
    enum reply_verdict v = wire_make_entry((const uint8_t *)key, (size_t)key_len, (const uint8_t *)reply, (size_t)len, seed, &p, now, out, &n);
    return v == REPLY_OK ? entry_bytes(out, n) : PyLong_FromLong(v);
}

static PyObject *py_failure_entry(PyObject *self, PyObject *args)
{
    (void)self;
    const char *key, *ede;
    Py_ssize_t key_len, ede_len;
    unsigned long long seed, now;
    unsigned rcode, ttl, zone, tag;
    uint8_t out[sizeof(struct entry) + WIRE_HEADER + WIRE_QUESTION_MAX + WIRE_EDE_MAX + 1];
    if (!PyArg_ParseTuple(args, "y#KIy#IIIK", &key, &key_len, &seed, &rcode, &ede, &ede_len, &ttl, &zone, &tag, &now) || !key_ok(key, key_len))
        return NULL;
    return entry_bytes(out, wire_failure_entry((const uint8_t *)key, (size_t)key_len, seed, (uint8_t)(rcode & 15), (const uint8_t *)ede,
                                               ede_len < 2 ? 0 : (size_t)ede_len, ttl, (uint16_t)zone, tag, now, out));
}

static PyObject *py_render(PyObject *self, PyObject *args)
{
    (void)self;
    static uint8_t out[65535]; /* under the GIL */
    const char *blob;
    Py_ssize_t len, client_len;
    const struct client *client;
    unsigned long long now;
    unsigned limit;
    if (!PyArg_ParseTuple(args, "y#y#KI", &blob, &len, &client, &client_len, &now, &limit) || !client_ok(client_len, client))
        return NULL;
    const struct entry *e = (const struct entry *)(const void *)blob;
    if (!wire_entry_ok((const uint8_t *)blob, (size_t)len) || e->question_len != client->question_len || limit < WIRE_UDP_PLAIN || limit > 65535)
        return PyErr_Format(PyExc_ValueError, "not an entry for this client, or a limit outside [512, 65535]");
    return entry_bytes(out, wire_render((const uint8_t *)blob, client, now, limit, out));
}

static PyObject *py_error(PyObject *self, PyObject *args)
{
    (void)self;
    const struct client *client;
    Py_ssize_t client_len;
    unsigned verdict, ede = WIRE_NO_EDE;
    uint8_t out[512];
    if (!PyArg_ParseTuple(args, "Iy#|I", &verdict, &client, &client_len, &ede) || !client_ok(client_len, client))
        return NULL;
    if (verdict > QUERY_INVALID || (verdict == QUERY_ANY && client->question_len < 5))
        return PyErr_Format(PyExc_ValueError, "no such verdict for this client: %u", verdict);
    return entry_bytes(out, wire_error(verdict, client, (uint16_t)ede, out));
}

static PyObject *py_hash(PyObject *self, PyObject *args)
{
    (void)self;
    const char *key;
    Py_ssize_t len;
    unsigned long long seed;
    if (!PyArg_ParseTuple(args, "y#K", &key, &len, &seed))
        return NULL;
    return PyLong_FromUnsignedLongLong(wire_hash((const uint8_t *)key, (size_t)len, seed));
}

static PyMethodDef functions[] = {
    {"now", py_now, METH_NOARGS, "Milliseconds of CLOCK_BOOTTIME."},
    {"trim", py_trim, METH_NOARGS, NULL},
    {"parse_query", py_parse_query, METH_VARARGS, NULL},
    {"make_query", py_make_query, METH_VARARGS, NULL},
    {"make_entry", py_make_entry, METH_VARARGS, NULL},
    {"failure_entry", py_failure_entry, METH_VARARGS, NULL},
    {"render", py_render, METH_VARARGS, NULL},
    {"error", py_error, METH_VARARGS, NULL},
    {"hash", py_hash, METH_VARARGS, NULL},
    {"udp_send", py_udp_send, METH_VARARGS, NULL},
    {"udp_recv", py_udp_recv, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *m)
{
    static const struct { const char *name; long value; } constants[] = {
        {"KEY_DO", KEY_DO}, {"KEY_CD", KEY_CD}, {"SUCCESS", KIND_SUCCESS}, {"DENIAL", KIND_DENIAL}, {"FAILURE", KIND_FAILURE},
        {"OK", REPLY_OK}, {"MALFORMED", REPLY_MALFORMED}, {"MISMATCH", REPLY_MISMATCH}, {"TRUNCATED", REPLY_TRUNCATED},
        {"TOO_LONG", REPLY_TOO_LONG}, {"STORED", PUT_STORED}, {"LOST", PUT_LOST}, {"TOO_BIG", PUT_TOO_BIG}, {"DEAD", PUT_DEAD},
        {"MAX_ZONES", MAX_ZONES}, {"ROWS", ROWS}, {"UPSTREAMS", UPSTREAMS}, {"NO_ROW", NO_ROW}, {"SAMPLES", SAMPLES}, {"SLOT_SIZE", SLOT_SIZE_BYTES},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (PyModule_AddIntConstant(m, constants[i].name, constants[i].value) < 0)
            return -1;
    return 0;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "nodedns.native", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_native(void);
PyMODINIT_FUNC PyInit_native(void)
{
    PyObject *m = PyModule_Create(&definition);
    if (m && (add_constants(m) < 0 || add_table_types(m) < 0 || add_server_types(m) < 0 || add_slots(m) < 0 || add_samples(m) < 0 || add_text(m) < 0)) {
        Py_DECREF(m);
        return NULL;
    }
    return m;
}
