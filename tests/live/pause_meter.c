/* SPDX-License-Identifier: MIT */
/*
 * A process of BYTES that writes RATE bytes a second over its memory, in which a thread looks at
 * the clock all the time: the longest gap between two looks is a pause that it felt. For each line
 * on standard input it prints that gap, in microseconds, and begins anew; "fork" has it fork()
 * first and prints what that took.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

static atomic_ulong longest;
static uint8_t *memory;
static size_t size, rate;

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void *watch(void *closure)
{
	uint64_t last = now_us();

	(void)closure;
	for (;;) {
		uint64_t now = now_us();

		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	return NULL;
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
		} else {
			printf("%lu\n", atomic_exchange(&longest, 0));
		}
		fflush(stdout);
	}
	return 0;
}
