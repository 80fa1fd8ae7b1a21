/* SPDX-License-Identifier: MIT */
/*
 * A process of BYTES that writes RATE bytes a second over its memory, in which a thread looks at
 * the clock all the time, and maps, writes and unmaps a page: the longest gap between two looks is
 * a pause that it felt, whether it was stopped or waited for a lock of its memory. For each line on
 * standard input it prints that gap, in microseconds, and begins anew. "fork" has it fork() first,
 * "copy" copy all its memory with as many threads as there are processors, in pieces, to where
 * memory is already, and "read" do the same by process_vm_readv(2); it prints what that took.
 *
 * The thread has real-time priority, where that is allowed, and sleeps between its looks: what it
 * feels is the pause, not the load of the machine. Threads that copy have that of memheap's.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE    4096UL
#define STEP_US 100UL
#define PIECE   (2UL << 20)
#define ROOM    (512UL << 20) /* more than any cache has */

static atomic_ulong longest, copied;
static atomic_bool copying; /* nothing is mapped meanwhile, as if it was stopped */
static uint8_t *memory;
static size_t size, rate;
static int by_call; /* whether to copy by process_vm_readv(2) */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void *watch(void *closure)
{
	const struct sched_param priority = { .sched_priority = 2 };
	const struct timespec step = { .tv_nsec = STEP_US * 1000 };
	uint64_t last = now_us();

	(void)closure;
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
	for (;;) {
		uint64_t now;
		char *page;

		clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
		if (copying)
			continue;
		page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED)
			abort();
		*page = 1;
		munmap(page, PAGE);
		now = now_us();
		if (now - last > longest + STEP_US)
			longest = now - last - STEP_US;
		last = now;
	}
	return NULL;
}

static void *copy(void *closure)
{
	const struct sched_param priority = { .sched_priority = 1 };
	uint8_t *to = closure;

	pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
	for (;;) {
		size_t at = atomic_fetch_add(&copied, PIECE);
		size_t length = at + PIECE < size ? PIECE : size - at;
		struct iovec own = { to + at % ROOM, length }, theirs = { memory + at, length };

		if (at >= size)
			return NULL;
		if (!by_call)
			memcpy(to + at % ROOM, memory + at, length);
		else if (process_vm_readv(getpid(), &own, 1, &theirs, 1, 0) != (ssize_t)length)
			abort();
	}
}

/* Microseconds for a copy of all memory. */
static uint64_t time_copy(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[64];
	uint8_t *to = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t begin;

	if (to == MAP_FAILED)
		abort();
	memset(to, 1, ROOM);
	count = count < 64 ? count : 64;
	copied = 0;
	copying = true;
	begin = now_us();
	for (long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, copy, to);
	for (long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	begin = now_us() - begin;
	copying = false;
	munmap(to, ROOM);
	return begin;
}

static void *sweep(void *closure)
{
	(void)closure;
	for (size_t at = 0; rate;) {
		for (size_t done = 0; done < rate / 100; done += PAGE) {
			memory[at]++;
			at = (at + PAGE) % size;
		}
		usleep(10000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	char line[64];

	if (argc != 3)
		return 2;
	size = (size_t)atoll(argv[1]) / PAGE * PAGE;
	rate = (size_t)atoll(argv[2]);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	/* Python's arenas are small: no huge pages */
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < size; at += PAGE)
		memset(memory + at, (int)(at / PAGE), PAGE);
	if (pthread_create(&threads[0], NULL, watch, NULL) ||
	    pthread_create(&threads[1], NULL, sweep, NULL))
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "fork\n")) {
			uint64_t begin = now_us();
			pid_t child = fork();

			if (!child)
				_exit(0);
			printf("%lu\n", (unsigned long)(now_us() - begin));
			waitpid(child, NULL, 0);
		} else if (!strcmp(line, "copy\n") || !strcmp(line, "read\n")) {
			by_call = *line == 'r';
			printf("%lu\n", time_copy());
		} else {
			printf("%lu\n", atomic_exchange(&longest, 0));
		}
		fflush(stdout);
	}
	return 0;
}
