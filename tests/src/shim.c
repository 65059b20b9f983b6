/* Preloaded into the agent: makes faults that its own code cannot make. For tests alone.
 *
 * In the directory named by LEAK_SHIM the test writes
 *   keep: the inode of a connection whose next close() is said to have worked, and is not made;
 *   deaf: the inode of a connection of which epoll tells nothing any more.
 * The file goes away when the fault is made.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DESCRIPTORS 1024

static void path_of(char *path, size_t size, const char *fault)
{
	const char *directory = getenv("LEAK_SHIM");
	snprintf(path, size, "%s/%s", directory ? directory : "/nonexistent", fault);
}

/* The inode that a fault is for; 0 for none. */
static unsigned long wanted(const char *path)
{
	char text[32] = "";
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	ssize_t length = read(file, text, sizeof text - 1);
	syscall(SYS_close, file);
	return length > 0 ? strtoul(text, NULL, 10) : 0;
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
	return real(epoll, events, most, timeout);
}
