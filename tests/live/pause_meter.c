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
 *
 * The host of a virtual machine may stop all of it. On each processor a bystander, a process of its
 * own that nobody looks at, does nothing but to look at the clock likewise. "own" prints the
 * longest gap without the time in which all bystanders stood still, too.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE         4096UL
#define STEP_US      100UL
#define PIECE        (2UL << 20)
#define ROOM         (512UL << 20) /* more than any cache has */
#define LONG_US      1000UL
#define WAIT_US      10000UL /* for bystanders to wake up */
#define BYSTANDER_US 1000UL  /* between looks: to look more often costs what is measured */
#define STALLS       1024

/* What a bystander has seen. */
struct bystander {
	atomic_ulong last; /* look */
	atomic_uint count; /* of stalls: the newest are kept */
	struct stall {
		atomic_ulong start, end;
	} stalls[STALLS];
};

static struct bystander *bystanders; /* one for each processor */
static long processors;
static atomic_ulong longest, longest_own, copied;
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

static void hurry(int priority)
{
	const struct sched_param parameter = { .sched_priority = priority };

	pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter);
}

static void sleep_us(unsigned long us)
{
	const struct timespec step = { .tv_nsec = (long)us * 1000 };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
}

static void stand_by(struct bystander *self, long processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
	hurry(3);
	self->last = now_us();
	for (;;) {
		uint64_t now;

		sleep_us(BYSTANDER_US);
		now = now_us();
		if (now - self->last > BYSTANDER_US + LONG_US) {
			struct stall *stall = &self->stalls[self->count % STALLS];

			stall->start = self->last + BYSTANDER_US;
			stall->end = now;
			self->count++;
		}
		self->last = now;
	}
}

static void make_bystanders(void)
{
	processors = sysconf(_SC_NPROCESSORS_ONLN);
	bystanders = mmap(NULL, (size_t)processors * sizeof(*bystanders), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bystanders == MAP_FAILED)
		abort();
	for (long i = 0; i < processors; i++) {
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			stand_by(&bystanders[i], i);
		}
	}
}

/* The part of [start, end) in which the bystander stood still the longest. */
static void cut(const struct bystander *bystander, uint64_t *start, uint64_t *end)
{
	uint64_t from = *start, to = *start;

	for (unsigned i = 0; i < STALLS; i++) {
		const struct stall *stall = &bystander->stalls[i];
		uint64_t first = stall->start > *start ? stall->start : *start;
		uint64_t last = stall->end < *end ? stall->end : *end;

		if (last > first && last - first > to - from) {
			from = first;
			to = last;
		}
	}
	*start = from;
	*end = to;
}

/* How long all bystanders stood still in [start, end). */
static uint64_t stalled_us(uint64_t start, uint64_t end)
{
	uint64_t sum = 0, give_up = now_us() + WAIT_US;

	for (long i = 0; i < processors; i++) {
		while (bystanders[i].last < end && now_us() < give_up)
			sleep_us(STEP_US);
	}
	for (unsigned i = 0; i < STALLS; i++) {
		uint64_t from = bystanders[0].stalls[i].start, to = bystanders[0].stalls[i].end;

		from = from > start ? from : start;
		to = to < end ? to : end;
		if (from >= to)
			continue;
		for (long j = 1; j < processors; j++)
			cut(&bystanders[j], &from, &to);
		sum += to - from;
	}
	return sum;
}

static void note(uint64_t last, uint64_t now)
{
	uint64_t gap = now - last > STEP_US ? now - last - STEP_US : 0, others = 0;

	if (gap > longest)
		longest = gap;
	if (gap > LONG_US)
		others = stalled_us(last, now);
	if (gap > others + longest_own)
		longest_own = gap - others;
}

static void *watch(void *closure)
{
	uint64_t last = now_us();

	(void)closure;
	hurry(2);
	for (;;) {
		uint64_t now;
		char *page;

		sleep_us(STEP_US);
		if (copying)
			continue;
		page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED)
			abort();
		*page = 1;
		munmap(page, PAGE);
		now = now_us();
		note(last, now);
		last = now_us();
		/* a stop may come while it waits for bystanders */
		if (last - now > WAIT_US + LONG_US)
			note(now + WAIT_US, last);
	}
	return NULL;
}

static void *copy(void *closure)
{
	uint8_t *to = closure;

	hurry(1);
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
	long count = processors < 64 ? processors : 64;
	pthread_t threads[64];
	uint8_t *to = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t begin;

	if (to == MAP_FAILED)
		abort();
	memset(to, 1, ROOM);
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
	make_bystanders();
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
		} else if (!strcmp(line, "own\n")) {
			printf("%lu\n", atomic_exchange(&longest_own, 0));
		} else {
			printf("%lu\n", atomic_exchange(&longest, 0));
		}
		fflush(stdout);
	}
	return 0;
}
