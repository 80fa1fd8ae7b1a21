/* SPDX-License-Identifier: MIT */
/*
 * A process that checks itself all the time: calls that wait, signals, timers, children, pipes,
 * registers. Whatever is lost, doubled or changed from outside ends it with a message and status 1.
 * It runs until its standard input ends, then says what Linux may impose (calls that returned
 * EINTR, zombies that it did not make) and how much was checked.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                     \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			printf("violated at line %d: %s (errno %d)\n", __LINE__, #condition, \
			       errno);                                                       \
			fflush(stdout);                                                      \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

static atomic_ulong rounds[8], interrupted, strangers, sent, children, deaths;
static atomic_bool done;

static void block_all(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* Its mask of signals and its alternate stack are as they were. */
static void check_own(const sigset_t *mask, const stack_t *stack)
{
	sigset_t now;
	stack_t other;

	CHECK(!pthread_sigmask(SIG_SETMASK, NULL, &now));
	for (int i = 1; i < SIGRTMAX; i++)
		CHECK(sigismember(&now, i) == sigismember(mask, i));
	CHECK(!sigaltstack(NULL, &other));
	CHECK(other.ss_sp == stack->ss_sp && other.ss_size == stack->ss_size);
}

/* Sequence numbers through a pipe: none lost, none doubled. */
static int pipe_ends[2];

static void *write_numbers(void *closure)
{
	(void)closure;
	block_all();
	for (uint64_t i = 0; !done; i++) {
		CHECK(write(pipe_ends[1], &i, sizeof(i)) == sizeof(i));
		if (i % 512 == 0)
			usleep(500);
	}
	close(pipe_ends[1]);
	return NULL;
}

static void *read_numbers(void *closure)
{
	uint64_t number;
	ssize_t size;

	(void)closure;
	block_all();
	for (uint64_t i = 0; (size = read(pipe_ends[0], &number, sizeof(number))); i++) {
		CHECK(size == sizeof(number) && number == i);
		rounds[0]++;
	}
	return NULL;
}

/* Sleeps: never shorter, never interrupted. */
static void *sleep_on(void *closure)
{
	stack_t stack = { .ss_sp = malloc(SIGSTKSZ), .ss_size = (size_t)SIGSTKSZ };
	sigset_t mask;

	(void)closure;
	block_all();
	CHECK(!sigaltstack(&stack, NULL));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (unsigned i = 0; !done; i++) {
		struct timespec before, after, length = { .tv_nsec = 1000000 * (1 + i % 5) };

		clock_gettime(CLOCK_MONOTONIC, &before);
		CHECK(!nanosleep(&length, NULL));
		clock_gettime(CLOCK_MONOTONIC, &after);
		CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec -
			      before.tv_nsec >=
		      length.tv_nsec);
		CHECK(!poll(NULL, 0, 1));
		check_own(&mask, &stack);
		rounds[1]++;
	}
	return NULL;
}

/* One child after the other: its status comes once, and so does its signal. */
static void on_child(int signal)
{
	(void)signal;
	deaths++;
}

static void *make_children(void *closure)
{
	(void)closure;
	while (!done) {
		int code = (int)(children % 200), status = -1;
		pid_t child = fork();

		if (!child)
			_exit(code);
		CHECK(child > 0);
		for (;;) {
			pid_t found = waitpid(-1, &status, 0);

			if (found < 0 && errno == EINTR)
				continue;
			CHECK(found == child && WIFEXITED(status) && WEXITSTATUS(status) == code);
			break;
		}
		CHECK(waitpid(-1, &status, 0) < 0 && errno == ECHILD);
		children++;
		for (unsigned i = 0; deaths < children && i < 2000; i++)
			usleep(1000);
		CHECK(deaths == children);
		rounds[2]++;
	}
	return NULL;
}

/* Queued signals in a row: each once, in order. */
static void on_number(int signal, siginfo_t *info, void *context)
{
	static int next;

	(void)signal;
	(void)context;
	CHECK(info->si_value.sival_int == next);
	next++;
	rounds[3]++;
}

static void *send_numbers(void *closure)
{
	(void)closure;
	block_all();
	for (int i = 0; !done; i++) {
		const union sigval value = { .sival_int = i };

		CHECK(!sigqueue(getpid(), SIGRTMIN, value));
		sent++;
		while (rounds[3] < sent && !done)
			usleep(200);
	}
	return NULL;
}

/* A timer's signals are taken by a call, with what came too late: as many as time passed. */
static void *count_ticks(void *closure)
{
	const struct itimerspec each = { .it_interval.tv_nsec = 1000000,
					 .it_value.tv_nsec = 1000000 };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1 };
	struct timespec begin, now;
	uint64_t ticks = 0;
	sigset_t signals;
	timer_t timer;

	(void)closure;
	block_all();
	sigemptyset(&signals);
	sigaddset(&signals, SIGRTMIN + 1);
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	CHECK(!timer_settime(timer, 0, &each, NULL));
	while (!done) {
		siginfo_t info;
		uint64_t passed;

		if (sigwaitinfo(&signals, &info) < 0) {
			CHECK(errno == EINTR);
			interrupted++;
			continue;
		}
		ticks += 1 + (uint64_t)info.si_overrun;
		clock_gettime(CLOCK_MONOTONIC, &now);
		passed = (uint64_t)(now.tv_sec - begin.tv_sec) * 1000 +
			 (uint64_t)((now.tv_nsec - begin.tv_nsec) / 1000000);
		/* none is doubled; those under way may not be counted yet */
		CHECK(ticks <= passed + 1);
		CHECK(passed < 2000 || ticks > passed / 2);
		rounds[4]++;
	}
	return NULL;
}

/* All vector registers keep what is in them, and so does the red zone. */
static __attribute__((noinline)) double mix(double seed)
{
	volatile char zone[64];
	double a[16];

	for (int i = 0; i < 64; i++)
		zone[i] = (char)(i * 7);
	for (int i = 0; i < 16; i++)
		a[i] = seed + i;
	for (int round = 0; round < 20000; round++) {
		for (int i = 0; i < 16; i++)
			a[i] = a[i] * 1.0000001 + 0.5;
	}
	for (int i = 0; i < 64; i++)
		CHECK(zone[i] == (char)(i * 7));
	for (int i = 1; i < 16; i++)
		a[0] += a[i];
	return a[0];
}

static void *compute(void *closure)
{
	double expected;

	(void)closure;
	block_all();
	expected = mix(3);
	while (!done) {
		CHECK(mix(3) == expected);
		rounds[5]++;
	}
	return NULL;
}

/* What Linux never restarts after a stop. */
static void *wait_for_events(void *closure)
{
	int fd = *(int *)closure;
	struct epoll_event event;

	block_all();
	while (!done) {
		int count = epoll_wait(fd, &event, 1, 20);

		CHECK(!count || (count < 0 && errno == EINTR));
		interrupted += count < 0;
		rounds[6]++;
	}
	return NULL;
}

static int open_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

int main(void)
{
	static void *(*const works[])(void *) = { write_numbers, read_numbers,   sleep_on,
						  make_children, send_numbers,   count_ticks,
						  compute,       wait_for_events };
	struct sigaction number = { .sa_sigaction = on_number,
				    .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction child = { .sa_handler = on_child, .sa_flags = SA_RESTART };
	pthread_t threads[sizeof(works) / sizeof(works[0])];
	int files, status, events = epoll_create1(EPOLL_CLOEXEC);
	sigset_t ticks;
	char byte;

	CHECK(!pipe(pipe_ends));
	sigaction(SIGRTMIN, &number, NULL);
	sigaction(SIGCHLD, &child, NULL);
	sigemptyset(&ticks);
	sigaddset(&ticks, SIGRTMIN + 1);
	pthread_sigmask(SIG_BLOCK, &ticks, NULL);
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		CHECK(!pthread_create(&threads[i], NULL, works[i], &events));
	usleep(100000);
	files = open_files();
	printf("ready\n");
	fflush(stdout);
	while (read(0, &byte, 1) == 1)
		CHECK(open_files() == files);
	CHECK(open_files() == files);
	done = true;
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		pthread_join(threads[i], NULL);
	while (waitpid(-1, &status, WNOHANG | __WALL) > 0)
		strangers++;
	for (int i = 0; i < 7; i++)
		CHECK(rounds[i] > 0);
	printf("interrupted %lu strangers %lu children %lu signals %lu numbers %lu\n", interrupted,
	       strangers, children, rounds[3], rounds[0]);
	return 0;
}
