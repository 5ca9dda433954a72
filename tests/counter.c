// Counts calls that take memory, of a process that is started with this library before all others.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static long calls;
long calls_so_far(void) { return calls; }
void *malloc(size_t size) { return ++calls, __libc_malloc(size); }
void *calloc(size_t number, size_t size) { return ++calls, __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { return ++calls, __libc_realloc(old, size); }
void *memalign(size_t align, size_t size) { return ++calls, __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { return ++calls, __libc_memalign(align, size); }
int posix_memalign(void **to, size_t align, size_t size) {
    return ++calls, (*to = __libc_memalign(align, size)) ? 0 : 12;
}
