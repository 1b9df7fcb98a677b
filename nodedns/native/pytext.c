/* pytext.c: numbers into text. A page of metrics is some ten thousand lines; Python needs a quarter of a microsecond for each. */
#include "binding.h"

/* A place for a number is FILL_PLACE and one of these. `sum` begins with 0. */
enum { FILL_PLACE = 1, FILL_VALUE = 'v', FILL_SPARSE = 'z', FILL_MORE = 'm', FILL_SECONDS = 's', FILL_SUM = 't' };
enum { LONGEST = 21 }; /* digits of 2^64, and a point */

static char *put_number(char *out, uint64_t n)
{
    char digits[20];
    unsigned k = 0;
    do
        digits[k++] = (char)('0' + n % 10);
    while (n /= 10);
    while (k)
        *out++ = digits[--k];
    return out;
}

static char *put_seconds(char *out, uint64_t ns)
{
    out = put_number(out, ns / 1000000000);
    *out++ = '.';
    for (uint64_t rest = ns % 1000000000, unit = 100000000; unit; unit /= 10)
        *out++ = (char)('0' + rest / unit % 10);
    return out;
}

static const char *find(const char *at, const char *end, char c)
{
    const char *found = at < end ? memchr(at, c, (size_t)(end - at)) : NULL;
    return found ? found : end;
}

/* Returns the end of what was written, or NULL when there are not as many values as places. */
static char *fill(char *out, const char *text, const char *end, const uint64_t *value, const uint64_t *last)
{
    uint64_t sum = 0;
    for (const char *place; (place = find(text, end, FILL_PLACE)) + 1 < end; text = place + 2) {
        size_t before = (size_t)(place - text);
        uint64_t v = sum;
        if (place[1] == FILL_SUM)
            sum = 0;
        else if (value == last)
            return NULL;
        else
            v = *value++;
        if (place[1] == FILL_MORE)
            v = sum += v;
        if (place[1] == FILL_SPARSE && !v) { /* such a line has one place */
            const char *line = memrchr(text, '\n', before);
            before = line ? (size_t)(line + 1 - text) : 0;
            memcpy(out, text, before);
            out += before;
            place = find(place, end, '\n') - 1;
            continue;
        }
        memcpy(out, text, before);
        out += before;
        out = place[1] == FILL_SECONDS ? put_seconds(out, v) : put_number(out, v);
    }
    memcpy(out, text, (size_t)(end > text ? end - text : 0));
    return value == last ? out + (end > text ? end - text : 0) : NULL;
}

static PyObject *py_fill(PyObject *self, PyObject *args)
{
    (void)self;
    const char *text, *values;
    Py_ssize_t len, octets;
    if (!PyArg_ParseTuple(args, "y#y#", &text, &len, &values, &octets))
        return NULL;
    size_t places = 0;
    for (const char *at = text, *all = text + len; (at = find(at, all, FILL_PLACE)) < all; at++)
        places++;
    char *out = malloc((size_t)len + places * LONGEST + 1);
    uint64_t *value = malloc((size_t)octets + 1);
    if (!out || !value) {
        free(out);
        free(value);
        return PyErr_NoMemory();
    }
    memcpy(value, values, (size_t)octets);
    char *end = octets % 8 ? NULL : fill(out, text, text + len, value, value + octets / 8);
    PyObject *filled = end ? PyBytes_FromStringAndSize(out, end - out)
                           : PyErr_Format(PyExc_ValueError, "expected as many u64 as places, got %zd octets", octets);
    free(out);
    free(value);
    return filled;
}

static PyMethodDef text_functions[] = {{"fill", py_fill, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

int add_text(PyObject *module) { return PyModule_AddFunctions(module, text_functions); }
