/* Preloaded into the agent: counts its allocations and the bytes that it copies, in the file named by COUNTS. For tests
   alone. */
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

/* By other names, as the compiler would make calls of memcpy of these. They are the same, with a limit. */
extern void *libc_memcpy(void *to, const void *from, size_t size, size_t limit) __asm__("__memcpy_chk");
extern void *libc_memmove(void *to, const void *from, size_t size, size_t limit) __asm__("__memmove_chk");

struct counts {
	_Atomic unsigned long allocations;
	_Atomic unsigned long copied;
};

static struct counts before_the_file;
static struct counts *counts = &before_the_file;

__attribute__((constructor)) static void share(void)
{
	const char *path = getenv("COUNTS");
	int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (file < 0 || ftruncate(file, sizeof *counts) != 0)
		abort();
	void *shared = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shared == MAP_FAILED)
		abort();
	syscall(SYS_close, file);
	counts = shared;
}

static void allocated(void)
{
	atomic_fetch_add_explicit(&counts->allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
	allocated();
	return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	allocated();
	return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
	allocated();
	return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
	allocated();
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

/* What the compiler copies by a few instructions, as its size is known, does not come here. */
static void copied(size_t size)
{
	atomic_fetch_add_explicit(&counts->copied, size, memory_order_relaxed);
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	copied(size);
	return libc_memcpy(to, from, size, (size_t)-1);
}

void *memmove(void *to, const void *from, size_t size)
{
	copied(size);
	return libc_memmove(to, from, size, (size_t)-1);
}
