/* SPDX-License-Identifier: MIT */
/* Looking something up in what is sorted. */
#pragma once

#include <stddef.h>

/*
 * How many of `count` things in a row come before something: `before` is an expression of `index`,
 * true for these, the first ones, and false for all behind them.
 */
#define bisect(index, count, before)                              \
	({                                                        \
		size_t low_ = 0, high_ = (count);                 \
                                                                  \
		while (low_ < high_) {                            \
			size_t index = low_ + (high_ - low_) / 2; \
                                                                  \
			if (before)                               \
				low_ = index + 1;                 \
			else                                      \
				high_ = index;                    \
		}                                                 \
		low_;                                             \
	})
