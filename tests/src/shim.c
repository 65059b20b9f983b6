/* Preloaded into the agent: makes faults that its own code cannot make. For tests alone.
 *
 * In the directory named by LEAK_SHIM the test writes
 *   keep: the inode of a connection whose next close() is said to have worked, and is not made;
 *   deaf: the inode of a connection of which epoll tells nothing any more;
 *   lose: anything, for a close that the kernel half does not see.
 * The file goes away when the fault is made. And for as long as it is there,
 *   leak: kinds of descriptors, as in "eventfd pipe", of which some more are opened all the time; then they are closed;
 *   crowd: the path of a socket, to which there are CROWD connections; then they are closed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS 1024
#define SAID 108
#define CROWD 100
#define HIGH 900
#define MILLISECOND 1000000L

static void path_of(char *path, size_t size, const char *fault)
{
	const char *directory = getenv("LEAK_SHIM");
	snprintf(path, size, "%s/%s", directory ? directory : "/nonexistent", fault);
}

/* What is written for a fault, at most SAID - 1 bytes; false for nothing. */
static int said(const char *path, char *text)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	ssize_t length = read(file, text, SAID - 1);
	syscall(SYS_close, file);
	text[length > 0 ? length : 0] = 0;
	return length > 0;
}

/* The inode that a fault is for; 0 for none. */
static unsigned long wanted(const char *path)
{
	char text[SAID];
	return said(path, text) ? strtoul(text, NULL, 10) : 0;
}

static unsigned long socket_inode(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

int close(int fd)
{
	char path[4096];
	unsigned long inode = socket_inode(fd);
	if (inode) {
		path_of(path, sizeof path, "keep");
		/* Only one thread can remove it. */
		if (wanted(path) == inode && unlink(path) == 0)
			return 0;
	}
	return syscall(SYS_close, fd);
}

/* Called by the one thread that waits. */
static void leak(void)
{
	static int leaked[DESCRIPTORS];
	static int count;
	static struct timespec last;
	char path[4096], kinds[SAID];
	struct timespec now;
	path_of(path, sizeof path, "leak");
	if (!said(path, kinds)) {
		while (count > 0)
			close(leaked[--count]);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	long passed = (now.tv_sec - last.tv_sec) * 1000 * MILLISECOND + now.tv_nsec - last.tv_nsec;
	if (passed < 100 * MILLISECOND || count > DESCRIPTORS / 2)
		return;
	last = now;
	if (strstr(kinds, "eventfd"))
		leaked[count++] = eventfd(0, EFD_CLOEXEC);
	if (strstr(kinds, "file"))
		leaked[count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (strstr(kinds, "pipe") && pipe2(leaked + count, O_CLOEXEC) == 0)
		count += 2;
}

static void crowd(void)
{
	static int held[CROWD];
	static int count;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[4096], socket_path[SAID] = "";
	_Static_assert(sizeof address.sun_path == SAID, "a path");
	path_of(path, sizeof path, "crowd");
	if (!said(path, socket_path)) {
		while (count > 0)
			close(held[--count]);
		return;
	}
	/* SAID is what a sun_path has room for, its end included. */
	memcpy(address.sun_path, socket_path, sizeof socket_path);
	while (count < CROWD) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
			abort();
		held[count++] = fd;
	}
}

/* As a 32-bit program closes, by another entry than the one that is watched. The number is so high that no other file
 * gets it, which would put the account right again. */
static void lose(void)
{
	char path[4096], anything[SAID];
	path_of(path, sizeof path, "lose");
	if (!said(path, anything))
		return;
	int fd = eventfd(0, EFD_CLOEXEC);
	long result = 6, high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
	close(fd);
	asm volatile("int $0x80" : "+a"(result) : "b"(high) : "memory", "r8", "r9", "r10", "r11");
	if (result == 0)
		unlink(path);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	static int (*real)(int, struct epoll_event *, int, int);
	char path[4096];
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
	path_of(path, sizeof path, "deaf");
	unsigned long inode = wanted(path);
	for (int fd = 0; inode && fd < DESCRIPTORS; fd++)
		if (socket_inode(fd) == inode && epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) == 0)
			unlink(path);
	leak();
	crowd();
	lose();
	return real(epoll, events, most, timeout);
}
