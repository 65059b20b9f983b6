/* Preloaded into the agent: counts its allocations, in the file named by ALLOCATIONS. For tests alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the C library has under the names that are taken here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Atomic unsigned long before_the_file;
static _Atomic unsigned long *count = &before_the_file;

__attribute__((constructor)) static void share(void)
{
	const char *path = getenv("ALLOCATIONS");
	int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (file < 0 || ftruncate(file, sizeof *count) != 0)
		abort();
	void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shared == MAP_FAILED)
		abort();
	syscall(SYS_close, file);
	count = shared;
}

void *malloc(size_t size)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
	*result = memalign(alignment, size);
	return *result ? 0 : 12; /* ENOMEM */
}
