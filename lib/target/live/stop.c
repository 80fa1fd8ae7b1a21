/* SPDX-License-Identifier: MIT */
/* stop: all threads stand still while the memory is copied. */
#include "live.h"

/* Takes what the process is while it stands still. */
static struct memheap_error *take_stopped(struct capture *capture)
{
	struct memheap_error *error = capture_survey(capture);

	if (!error && !threads_read(&capture->threads))
		error = error_create_errno("cannot read the registers of process %d",
					   (int)capture->pid);
	if (!error)
		error = capture_plan(capture, SCOPE_ALL);
	if (!error)
		capture_copy(capture);
	return error;
}

struct memheap_error *live_stop(struct live_attempt *attempt)
{
	struct capture *capture = attempt->capture;
	struct memheap_error *error = capture_prepare(capture);

	if (error)
		return error;
	capture->deadline_ns = live_now_ns() + attempt->max_pause_ns;
	error = threads_stop(&capture->threads, capture->pid, capture->deadline_ns);
	if (!error)
		error = take_stopped(capture);
	threads_resume(&capture->threads);
	if (!error && capture->late)
		return error_hint(
			error_create(MEMHEAP_FAILED,
				     "copying %llu bytes took longer than the pause of %llu ms "
				     "that is allowed",
				     (unsigned long long)capture->bytes,
				     (unsigned long long)(attempt->max_pause_ns / 1000000)),
			"allow a longer one: --max-pause MS");
	attempt->live->taking.while_stopped = capture_copied(capture);
	return error;
}
