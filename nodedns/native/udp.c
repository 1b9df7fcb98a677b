/* udp.c: datagrams to and from an upstream, a batch a call, on a connected socket (the kernel then drops other peers' packets). */
#include "binding.h"
#include <errno.h>

enum { REPLY_MAX = 4096 }; /* we advertise 1232; a server that ignores it is still heard, what is longer comes back by TCP */

static uint8_t buffer[BATCH][REPLY_MAX]; /* under the GIL */

PyObject *py_udp_send(PyObject *self, PyObject *args)
{
    (void)self;
    int fd;
    PyObject *list;
    struct mmsghdr head[BATCH];
    struct iovec iov[BATCH];
    if (!PyArg_ParseTuple(args, "iO!", &fd, &PyList_Type, &list))
        return NULL;
    Py_ssize_t n = PyList_Size(list);
    if (n > BATCH)
        n = BATCH;
    for (Py_ssize_t i = 0; i < n; i++) {
        char *data;
        Py_ssize_t len;
        if (PyBytes_AsStringAndSize(PyList_GetItem(list, i), &data, &len) < 0)
            return NULL;
        iov[i] = (struct iovec){data, (size_t)len};
        head[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
    }
    int sent = n ? sendmmsg(fd, head, (unsigned)n, MSG_DONTWAIT) : 0;
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(sent < 0 ? 0 : sent);
}

PyObject *py_udp_recv(PyObject *self, PyObject *args)
{
    (void)self;
    int fd;
    struct mmsghdr head[BATCH];
    struct iovec iov[BATCH];
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    for (int i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){buffer[i], REPLY_MAX};
        head[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
    }
    int n = recvmmsg(fd, head, BATCH, MSG_DONTWAIT, NULL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *list = PyList_New(n < 0 ? 0 : n);
    for (int i = 0; list && i < n; i++) {
        PyObject *data = entry_bytes(buffer[i], head[i].msg_len);
        if (!data || PyList_SetItem(list, i, data) < 0)
            Py_CLEAR(list);
    }
    return list;
}
