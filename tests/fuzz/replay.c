/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target on files: replay DIRECTORY runs it on each file of the corpus. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fuzz.h"

#define INPUT_MAX   (1 << 20)
#define SECONDS_MAX 20 /* for one input; a sanitizer makes it up to 20 times slower */

static bool replay(const char *path)
{
	uint8_t *bytes = malloc(INPUT_MAX);
	FILE *file = fopen(path, "rb");
	size_t size = bytes && file ? fread(bytes, 1, INPUT_MAX, file) : 0;
	bool failed = !bytes || !file || ferror(file);
	time_t start = time(NULL);

	if (file)
		fclose(file);
	if (failed)
		fprintf(stderr, "cannot read %s\n", path);
	else
		LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
	if (time(NULL) - start > SECONDS_MAX) {
		fprintf(stderr, "%s took more than %d seconds\n", path, SECONDS_MAX);
		failed = true;
	}
	return !failed;
}

int main(int argc, char **argv)
{
	const char *directory = argc == 2 ? argv[1] : ".";
	size_t count = 0, failed = 0;
	struct dirent *entry;
	DIR *list = opendir(directory);

	while (list && (entry = readdir(list))) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		fprintf(stderr, "%s\n", entry->d_name);
		failed += !replay(path);
		count++;
	}
	if (list)
		closedir(list);
	printf("%zu inputs of %s\n", count, directory);
	return failed || !count;
}
