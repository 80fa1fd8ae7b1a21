/* SPDX-License-Identifier: MIT */
/*
 * A process of ours that ends us when a pause lasts much longer than it may: when we were stopped
 * ourselves (SIGSTOP), or hang. With our end the process goes on.
 */
#pragma once

#include "../../base/vaddr.h"

/* Starts it, for pauses of `max_pause_ns`; without it everything works too. */
void watchdog_start(uint64_t max_pause_ns);

/* A pause begins; it has ended. */
void watchdog_begin(void);
void watchdog_end(void);

void watchdog_stop(void);
