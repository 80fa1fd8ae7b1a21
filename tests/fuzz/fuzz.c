/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/vaddr.h"
#include "fuzz.h"

static void require(bool done, const char *what)
{
	if (done)
		return;
	perror(what);
	abort();
}

struct memory_file memory_file_create(const char *name)
{
	struct memory_file file = { .fd = memfd_create(name, MFD_CLOEXEC) };

	require(file.fd >= 0, "memfd_create");
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	return file;
}

void memory_file_write(const struct memory_file *file, const void *bytes, size_t size,
		       uint64_t offset)
{
	require(pwrite(file->fd, bytes, size, (off_t)offset) == (ssize_t)size, "pwrite");
}

void memory_file_resize(const struct memory_file *file, uint64_t size)
{
	require(!ftruncate(file->fd, (off_t)size), "ftruncate");
}

/* Sums one column of a table. */
struct sum {
	int column;
	uint64_t value, largest;
};

static bool read_row(void *closure, const struct memheap_cell *cells)
{
	struct sum *sum = closure;

	if (sum->column >= 0 && cells[sum->column].present) {
		sum->value += cells[sum->column].number;
		sum->largest = MAX(sum->largest, cells[sum->column].number);
	}
	return true;
}

static struct sum sum_column(const struct memheap_report *report, const char *key,
			     const char *column)
{
	const struct memheap_table *table = memheap_report_table(report, key);
	struct sum sum = { .column = memheap_table_column(memheap_table_shape_of(table), column) };

	memheap_table_each(table, read_row, &sum);
	return sum;
}

/* Whether the leaves of the accounting sum up to the image. */
static bool adds_up(const struct memheap_report *report)
{
	struct sum memory = sum_column(report, "memory", "bytes");
	uint64_t image = sum_column(report, "completeness", "image_bytes").value;

	return memory.value == image && memory.largest <= image;
}

static void read_report(const struct memheap_snapshot *snapshot,
			const struct memheap_report_shape *shape, uint64_t address)
{
	const struct memheap_query query = { .address = address, .values = true };
	struct memheap_report *report;
	struct memheap_error *error;
	struct sum none = { .column = -1 };

	error = memheap_report_create(snapshot, shape->name, &query, &report);
	if (error) {
		memheap_error_destroy(error);
		return;
	}
	for (size_t i = 0; shape->tables[i]; i++)
		memheap_table_each(memheap_report_table(report, shape->tables[i]->key), read_row,
				   &none);
	if (!strcmp(shape->name, "analyze") && !adds_up(report)) {
		fprintf(stderr, "the accounting does not add up\n");
		abort();
	}
	memheap_report_destroy(report);
}

void read_everything(const char *path, const char *executable, enum memheap_stage last,
		     uint64_t address)
{
	const struct memheap_report_shape *const *shapes = memheap_report_shapes();
	const struct memheap_options options = { .executable = executable, .threads = 1 };
	struct memheap_snapshot *snapshot;
	struct memheap_error *error;

	error = memheap_snapshot_create(path, &options, last, &snapshot);
	if (error) {
		memheap_error_destroy(error);
		return;
	}
	for (; *shapes; shapes++) {
		if ((*shapes)->needs != MEMHEAP_NOTHING && (*shapes)->needs <= last)
			read_report(snapshot, *shapes, address);
	}
	memheap_snapshot_destroy(snapshot);
}
