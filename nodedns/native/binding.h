/* binding.h: what the binding files share. module.c: functions over bytes; pytable.c: Memory and Table; pyserve.c: Server; pystore.c: its table;
 * pycounters.c: counters; pyparent.c: the parent's; pyslots.c: those of one slot; pyupstream.c: those of upstreams; pysamples.c:
 * samples; pytext.c: numbers into text. Only arguments in and errors out: every rule is in the C they call. Limited API 3.11, so
 * one file serves 3.11-3.13. */
#ifndef NODEDNS_BINDING_H
#define NODEDNS_BINDING_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "serve.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct memory { PyObject_HEAD void *base; Py_ssize_t size; int writable; };
struct server_object {
    PyObject_HEAD
    struct server *server; /* not in the object: it is large and wants its alignment */
    PyObject *keep;        /* the mappings live as long as the loops */
};
struct table_object { PyObject_HEAD struct table table; PyObject *memory; uint32_t epoch; uint8_t writer; };

/* The Memory behind an argument, or NULL with TypeError or ValueError (shorter than `least`, or not writable when it must be). */
struct memory *memory_of(PyObject *o, size_t least, int writable);
struct table_object *table_of(PyObject *o);
int add_table_types(PyObject *module);
int add_server_types(PyObject *module);
/* Fills sockets, acl and zones from Python sequences. 0, or -1 with an error set. */
int server_take(struct server *s, PyObject *sockets, PyObject *acl, PyObject *zones);
/* rows: u16 of each socket's zones, and one more; NULL for none. */
int server_take_rows(struct server *s, const char *rows, Py_ssize_t len);
int server_take_samples(struct server *s, unsigned slot, PyObject *samples, PyObject *wires);
int add_counters(PyObject *module);
int add_slots(PyObject *module);
int add_parent(PyObject *module);
int add_text(PyObject *module);
int add_strings(PyObject *module, const char *name, const char *const *names, Py_ssize_t n); /* a tuple */
int add_samples(PyObject *module);
PyObject *py_count_upstream(PyObject *self, PyObject *args);
PyObject *py_count_reply(PyObject *self, PyObject *args);
PyObject *py_note_upstream(PyObject *self, PyObject *args);
int counter_index(const char *name); /* -1: none of that name */
const char *counter_name(unsigned index);
struct server_object *server_of(PyObject *o);
PyObject *py_store(PyObject *self, PyObject *args);
PyObject *py_stale(PyObject *self, PyObject *args);
PyObject *py_mark(PyObject *self, PyObject *args);
PyObject *py_awaited(PyObject *self, PyObject *args);
PyObject *py_udp_send(PyObject *self, PyObject *args);
PyObject *py_udp_recv(PyObject *self, PyObject *args);
PyObject *entry_bytes(const uint8_t *blob, size_t len);
/* Adds a type made from a spec under its short name. 0, or -1 with an error set; *keep is the type. */
int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **keep);
#endif
