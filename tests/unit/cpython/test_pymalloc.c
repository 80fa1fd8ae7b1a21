/* SPDX-License-Identifier: MIT */
/* One pool of 3.8, made by hand: 4 KiB, a header of 48 bytes, blocks of 512 bytes. */
#include "../unit.h"
#include "cpython/allocators/pymalloc.h"
#include "layout/versions.h"

#define ARENA_AT    0x7f0000040000ULL
#define ARENA_BYTES (256 << 10)
#define POOL_BYTES  4096
#define HEADER      48
#define BLOCK       512
#define LAST_CLASS  31
#define ROOM        ((POOL_BYTES - HEADER) / BLOCK)

struct pool_memory {
	uint8_t bytes[POOL_BYTES];
	struct layout layout;
	struct image image;
	struct memory memory;
	struct pymalloc pymalloc;
	struct pool pool;
	struct arena arena;
	struct gaps gaps;
	uint64_t free[1];
};

static void put_field(struct pool_memory *memory, enum field_id id, uint64_t value)
{
	const struct field *field = &memory->layout.fields[id];

	memcpy(memory->bytes + field->offset, &value, field->size);
}

static void set_up(struct pool_memory *memory, uint64_t used, uint64_t next)
{
	*memory = (struct pool_memory){ .layout = { .version = 0x030812f0 } };
	memcpy(memory->layout.fields, version_tables[0]->fields, sizeof(memory->layout.fields));
	for (size_t i = 0; i < FIELD_COUNT; i++)
		memory->layout.fields[i].source = FROM_TABLE;
	add_segment(&memory->image, ARENA_AT, POOL_BYTES, memory->bytes);
	assert_true(image_build(&memory->image, &memory->gaps));
	memory->memory = (struct memory){ &memory->image, &memory->layout };
	memory->pymalloc = (struct pymalloc){
		.arena_bytes = ARENA_BYTES,
		.pool_bytes = POOL_BYTES,
		.header_bytes = HEADER,
		.alignment = 16,
		.class_count = LAST_CLASS + 1,
		.pools = &memory->pool,
		.pool_count = 1,
	};
	memory->arena = (struct arena){
		.start = ARENA_AT,
		.first_pool = ARENA_AT,
		.next_pool = ARENA_AT + POOL_BYTES,
		.pool_count = 1,
	};
	put_field(memory, FIELD_POOL_COUNT, used);
	put_field(memory, FIELD_POOL_SIZE_CLASS, LAST_CLASS);
	put_field(memory, FIELD_POOL_NEXT_OFFSET, next);
	put_field(memory, FIELD_POOL_MAX_NEXT_OFFSET, POOL_BYTES - BLOCK);
}

static void read_and_walk(struct pool_memory *memory)
{
	pymalloc_read_pool(&memory->pymalloc, &memory->memory, &memory->arena,
			   memory->pymalloc.pools,
			   pymalloc_pool_at(&memory->pymalloc, &memory->arena, 0), &memory->gaps);
	pymalloc_walk_pool(&memory->pymalloc, &memory->memory, &memory->pool, ARENA_AT,
			   memory->free, &memory->gaps);
}

static void expect_pool(struct pool_memory *memory, unsigned carved, unsigned used, uint64_t free,
			bool damaged)
{
	assert_int_equal(memory->pool.count, ROOM);
	assert_int_equal(memory->pool.carved, carved);
	assert_int_equal(memory->pool.used, used);
	assert_int_equal(memory->free[0], free);
	assert_int_equal(memory->pool.damaged, damaged);
	assert_int_equal(memory->gaps.kinds[GAP_POOL_DAMAGED].count, damaged);
	image_deinit(&memory->image);
}

static void reads_a_sound_pool(void **state)
{
	struct pool_memory memory;
	vaddr second = ARENA_AT + HEADER + BLOCK;

	(void)state;
	set_up(&memory, 2, HEADER + 3 * BLOCK); /* three handed out, the second freed */
	put_field(&memory, FIELD_POOL_FREE_BLOCK, second);
	read_and_walk(&memory);
	expect_pool(&memory, 3, 2, 1 << 1, false);

	set_up(&memory, ROOM, HEADER + ROOM * BLOCK); /* full */
	read_and_walk(&memory);
	expect_pool(&memory, ROOM, ROOM, 0, false);
}

static void distrusts_free_lists(void **state)
{
	static const uint64_t offsets[] = { HEADER + BLOCK + 1, HEADER - 16, HEADER + 3 * BLOCK,
					    POOL_BYTES, 0 };
	struct pool_memory memory;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		set_up(&memory, 2, HEADER + 3 * BLOCK);
		put_field(&memory, FIELD_POOL_FREE_BLOCK, offsets[i] ? ARENA_AT + offsets[i] : 0);
		read_and_walk(&memory);
		expect_pool(&memory, 3, 3, 0, true);
	}
	/* a loop */
	set_up(&memory, 1, HEADER + 3 * BLOCK);
	put_field(&memory, FIELD_POOL_FREE_BLOCK, ARENA_AT + HEADER);
	put_u64(memory.bytes + HEADER, ARENA_AT + HEADER);
	read_and_walk(&memory);
	expect_pool(&memory, 3, 3, 0, true);
}

static void distrusts_headers(void **state)
{
	static const struct {
		uint64_t used, next;
	} bad[] = {
		{ 1, HEADER }, /* none handed out, one used */
		{ 1, HEADER + BLOCK + 1 },
		{ 3, HEADER + 2 * BLOCK },
		{ ROOM + 1, HEADER + ROOM * BLOCK },
		{ UINT32_MAX, HEADER + BLOCK },
	};
	struct pool_memory memory;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_up(&memory, bad[i].used, bad[i].next);
		read_and_walk(&memory);
		expect_pool(&memory, ROOM, ROOM, 0, true);
	}
	/* more handed out than there is room for */
	set_up(&memory, 1, HEADER + 4096 * BLOCK);
	put_field(&memory, FIELD_POOL_MAX_NEXT_OFFSET, UINT32_MAX);
	read_and_walk(&memory);
	expect_pool(&memory, ROOM, ROOM, 0, true);
	/* a size class that does not exist */
	set_up(&memory, 1, HEADER + BLOCK);
	put_field(&memory, FIELD_POOL_SIZE_CLASS, LAST_CLASS + 1);
	pymalloc_read_pool(&memory.pymalloc, &memory.memory, &memory.arena, memory.pymalloc.pools,
			   pymalloc_pool_at(&memory.pymalloc, &memory.arena, 0), &memory.gaps);
	assert_true(memory.pool.damaged);
	assert_int_equal(memory.pool.count, 0);
	image_deinit(&memory.image);
}

static void finds_arenas_at_borders(void **state)
{
	struct arena arenas[] = { { .start = ARENA_AT }, { .start = ARENA_AT + 2 * ARENA_BYTES } };
	struct pymalloc pymalloc = { .arena_bytes = ARENA_BYTES };

	(void)state;
	pymalloc.arenas.items = arenas;
	pymalloc.arenas.count = ARRAY_SIZE(arenas);
	assert_null(pymalloc_find_arena(&pymalloc, ARENA_AT - 1));
	assert_ptr_equal(pymalloc_find_arena(&pymalloc, ARENA_AT), &arenas[0]);
	assert_ptr_equal(pymalloc_find_arena(&pymalloc, ARENA_AT + ARENA_BYTES - 1), &arenas[0]);
	assert_null(pymalloc_find_arena(&pymalloc, ARENA_AT + ARENA_BYTES));
	assert_ptr_equal(pymalloc_find_arena(&pymalloc, ARENA_AT + 2 * ARENA_BYTES), &arenas[1]);
	assert_null(pymalloc_find_arena(&pymalloc, UINT64_MAX));
}

#define INTERP_AT  0x10000ULL
#define STATE_AT   0x20000ULL
#define RECORDS_AT 0x30000ULL

/* Loads the one arena of an interpreter of 3.15, of `pools` pools. */
static void load_arena(struct pymalloc *pymalloc, vaddr arena, uint32_t pools, struct gaps *gaps)
{
	static uint8_t interp[1 << 14], state[1 << 11], record[64];
	struct interpreter item = { .at = INTERP_AT };
	struct python python = { .interpreters = { .items = &item, .count = 1 } };
	const struct field *fields = python.layout.fields;
	struct image image = { 0 };
	size_t last = 0;

	while (strcmp(version_tables[last]->name, "3.15.2") != 0)
		last++;
	version_layout(version_tables[last], EM_X86_64, &python.layout);
	python.memory = (struct memory){ &image, &python.layout };
	put_u64(interp + fields[FIELD_INTERP_OBMALLOC].offset, STATE_AT);
	put_u64(state + fields[FIELD_OBMALLOC_ARENAS].offset, RECORDS_AT);
	memcpy(state + fields[FIELD_OBMALLOC_MAX_ARENAS].offset, &(uint32_t){ 1 }, 4);
	/* behind as many words as an arena has pools */
	memset(state + fields[FIELD_OBMALLOC_MAX_ARENAS].offset + 8, 0, 1024);
	put_u64(state + fields[FIELD_OBMALLOC_ARENAS_TOTAL].offset + (pools > 64 ? 512 : 0), 7);
	put_u64(record + fields[FIELD_ARENA_ADDRESS].offset, arena);
	put_u64(record + fields[FIELD_ARENA_POOL_ADDRESS].offset, round_up(arena, 16384));
	memcpy(record + fields[FIELD_ARENA_FREE_POOLS].offset, &pools, sizeof(pools));
	memcpy(record + fields[FIELD_ARENA_TOTAL_POOLS].offset, &pools, sizeof(pools));
	add_segment(&image, INTERP_AT, sizeof(interp), interp);
	add_segment(&image, STATE_AT, sizeof(state), state);
	add_segment(&image, RECORDS_AT, sizeof(record), record);
	*gaps = (struct gaps){ 0 };
	assert_true(image_build(&image, gaps));
	assert_null(pymalloc_load(pymalloc, &python, gaps));
	image_deinit(&image);
}

/* --with-pymalloc-hugepages, since 3.15, makes them of 2 MiB */
static void measures_arenas(void **state)
{
	static const struct {
		vaddr arena;
		uint32_t pools;
		uint64_t bytes; /* 0: that is no arena */
	} cases[] = {
		{ 0x7f0000000000, 64, 1 << 20 },   { 0x7f0000001000, 63, 1 << 20 },
		{ 0x7f0000000000, 128, 2 << 20 },  { 0x7f0000001000, 127, 2 << 20 },
		{ 0x7f0000000000, 65, 0 },         { 0x7f0000000000, 100, 0 },
		{ 0x7f0000000000, UINT32_MAX, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pymalloc pymalloc;
		struct gaps gaps;

		load_arena(&pymalloc, cases[i].arena, cases[i].pools, &gaps);
		assert_int_equal(pymalloc.arenas.count, cases[i].bytes != 0);
		assert_int_equal(gaps.kinds[GAP_ARENA_DAMAGED].count, !cases[i].bytes);
		assert_int_equal(pymalloc.arena_bytes, cases[i].bytes ? cases[i].bytes : 1 << 20);
		assert_int_equal(pymalloc.states.items[0].arenas_total, cases[i].bytes ? 7 : 0);
		pymalloc_deinit(&pymalloc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_sound_pool), cmocka_unit_test(distrusts_free_lists),
		cmocka_unit_test(distrusts_headers),  cmocka_unit_test(finds_arenas_at_borders),
		cmocka_unit_test(measures_arenas),
	};

	return RUN_TESTS(tests);
}
