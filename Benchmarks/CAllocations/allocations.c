// Stands in front of glibc's allocator and counts. A program's own malloc takes the place of the library's, in every
// library that the program loads; the names with __libc_ are glibc's own for what it hides that way. free needs no
// replacement: all memory still is glibc's. glibc itself must be a shared library, as it is with Swift's libraries
// linked in; linked in as well it defines the same names again.
#include "CAllocations.h"
#include <errno.h>
#include <features.h>
#include <stddef.h>

#ifdef __GLIBC__

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

// Of the executable, so it takes no call and no memory to find it.
static _Thread_local long allocations __attribute__((tls_model("local-exec")));

long cygnet_allocations(void) { return allocations; }

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    allocations++;
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    allocations++;
    void *found = __libc_memalign(alignment, size);
    if (found == NULL) return ENOMEM;
    *memory = found;
    return 0;
}

#else

long cygnet_allocations(void) { return -1; }

#endif
