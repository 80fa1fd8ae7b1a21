/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../base/cleanup.h"
#include "elf_file.h"

#define MINI_DEBUG_MAX    (64 << 20) /* unpacked; Fedora's libpython has 400 KiB */
#define MINI_DEBUG_MEMORY (128 << 20)

void build_id_parse(struct build_id *id, const uint8_t *bytes, uint64_t size)
{
	uint64_t at = 0;

	while (size >= 12 && at <= size - 12) {
		uint64_t name_size = load_u32(bytes + at), payload_size = load_u32(bytes + at + 4);
		uint64_t payload = at + 12 + round_up(name_size, 4);

		if (payload > size || payload_size > size - payload)
			return;
		if (load_u32(bytes + at + 8) == NT_GNU_BUILD_ID && name_size == 4 &&
		    !memcmp(bytes + at + 12, "GNU", 4)) {
			id->size = MIN(payload_size, (uint64_t)BUILD_ID_MAX);
			memcpy(id->bytes, bytes + payload, id->size);
			return;
		}
		at = payload + round_up(payload_size, 4);
	}
}

void build_id_format(const struct build_id *id, char *text)
{
	*text = '\0';
	for (size_t i = 0; i < id->size; i++)
		snprintf(text + 2 * i, 3, "%02x", id->bytes[i]);
}

bool elf_headers_parse(struct elf_headers *headers, const uint8_t *bytes, uint64_t size)
{
	Elf64_Ehdr header;

	*headers = (struct elf_headers){ 0 };
	if (size < sizeof(header))
		return false;
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof(Elf64_Phdr) ||
	    header.e_phoff > size || header.e_phnum > (size - header.e_phoff) / sizeof(Elf64_Phdr))
		return false;
	for (size_t i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, bytes + header.e_phoff + i * sizeof(segment), sizeof(segment));
		if (segment.p_memsz > UINT64_MAX - segment.p_vaddr)
			continue;
		if (segment.p_type == PT_LOAD && headers->load_count < ELF_LOADS_MAX) {
			headers->loads[headers->load_count++] = (struct elf_load){
				.start = segment.p_vaddr,
				.end = segment.p_vaddr + segment.p_memsz,
				.offset = segment.p_offset,
				.file_size = segment.p_filesz,
				.flags = segment.p_flags,
			};
		} else if (segment.p_type == PT_GNU_RELRO) {
			headers->relro_start = segment.p_vaddr;
			headers->relro_end = segment.p_vaddr + segment.p_memsz;
		} else if (segment.p_type == PT_TLS) {
			headers->tls_bytes = segment.p_memsz;
		}
	}
	return headers->load_count;
}

static Elf_Scn *find_section(const struct elf_file *file, const char *name, GElf_Shdr *header)
{
	size_t names;

	if (elf_getshdrstrndx(file->elf, &names))
		return NULL;
	for (Elf_Scn *section = NULL; (section = elf_nextscn(file->elf, section));) {
		const char *found;

		if (!gelf_getshdr(section, header))
			return NULL;
		found = elf_strptr(file->elf, names, header->sh_name);
		if (found && !strcmp(found, name))
			return section;
	}
	return NULL;
}

static void read_build_id(struct elf_file *file)
{
	size_t count;
	GElf_Shdr section;

	if (elf_getphdrnum(file->elf, &count))
		return;
	for (size_t i = 0; i < count && !file->build_id.size; i++) {
		GElf_Phdr header;

		if (gelf_getphdr(file->elf, (int)i, &header) && header.p_type == PT_NOTE &&
		    range_holds(0, file->size, header.p_offset, header.p_filesz))
			build_id_parse(&file->build_id, file->bytes + header.p_offset,
				       header.p_filesz);
	}
	/* what dwz makes has no segments */
	if (!count && find_section(file, ".note.gnu.build-id", &section) &&
	    range_holds(0, file->size, section.sh_offset, section.sh_size))
		build_id_parse(&file->build_id, file->bytes + section.sh_offset, section.sh_size);
}

static struct memheap_error *map_file(struct elf_file *file)
{
	struct stat status;
	void *bytes;

	_cleanup_close_ int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status))
		return error_create_errno("cannot open %s", file->path);
	if (!S_ISREG(status.st_mode) || !status.st_size)
		return error_create(MEMHEAP_FAILED, "cannot read %s: not a file with content",
				    file->path);
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return error_create_errno("cannot map %s", file->path);
	file->bytes = bytes;
	file->size = (uint64_t)status.st_size;
	return NULL;
}

/* Makes sense of the bytes. */
static struct memheap_error *parse(struct elf_file *file)
{
	const char *ident;

	file->elf = elf_memory((char *)file->bytes, file->size);
	ident = file->elf ? elf_getident(file->elf, NULL) : NULL;
	if (!ident || elf_kind(file->elf) != ELF_K_ELF || ident[EI_CLASS] != ELFCLASS64 ||
	    ident[EI_DATA] != ELFDATA2LSB)
		return error_create(MEMHEAP_FAILED,
				    "cannot read %s: not a 64-bit little-endian ELF file",
				    file->path);
	elf_headers_parse(&file->headers, file->bytes, file->size);
	read_build_id(file);
	return NULL;
}

struct memheap_error *elf_file_open(const char *path, struct elf_file **ret)
{
	struct memheap_error *error;

	elf_version(EV_CURRENT);
	_cleanup_(elf_file_cleanup) struct elf_file *file = calloc(1, sizeof(*file));
	if (!file)
		return &error_no_memory;
	file->path = strdup(path);
	if (!file->path)
		return &error_no_memory;
	error = map_file(file);
	if (error)
		return error;
	error = parse(file);
	if (!error)
		*ret = take(file);
	return error;
}

void elf_file_close(struct elf_file *file)
{
	if (!file)
		return;
	if (file->elf)
		elf_end(file->elf);
	if (file->bytes)
		munmap((void *)file->bytes, file->size);
	free(file->path);
	free(file);
}

static bool name_matches(const char *found, const char *name)
{
	size_t length = strlen(name);

	return found && !strncmp(found, name, length) &&
	       (found[length] == '\0' || found[length] == '.');
}

/* Looks for `name` in one symbol table. */
static bool find_symbol(const struct elf_file *file, Elf_Scn *section, const GElf_Shdr *header,
			const char *name, struct elf_symbol *ret)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t count = header->sh_entsize ? header->sh_size / header->sh_entsize : 0;

	for (size_t i = 0; data && i < count; i++) {
		GElf_Sym symbol;

		if (!gelf_getsym(data, (int)i, &symbol))
			return false;
		if (symbol.st_shndx == SHN_UNDEF || GELF_ST_TYPE(symbol.st_info) > STT_FUNC ||
		    !name_matches(elf_strptr(file->elf, header->sh_link, symbol.st_name), name))
			continue;
		*ret = (struct elf_symbol){
			.address = symbol.st_value,
			.size = symbol.st_size,
			.table = header->sh_type == SHT_DYNSYM ? ".dynsym" : ".symtab",
			.file = file,
		};
		return true;
	}
	return false;
}

bool elf_file_symbol(const struct elf_file *file, const char *name, struct elf_symbol *ret)
{
	for (Elf_Scn *section = NULL; (section = elf_nextscn(file->elf, section));) {
		GElf_Shdr header;

		if (!gelf_getshdr(section, &header))
			return false;
		if ((header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM) &&
		    find_symbol(file, section, &header, name, ret))
			return true;
	}
	return false;
}

bool elf_file_section(const struct elf_file *file, const char *name, struct elf_symbol *ret)
{
	GElf_Shdr header;

	if (!find_section(file, name, &header) || !(header.sh_flags & SHF_ALLOC))
		return false;
	*ret = (struct elf_symbol){
		.address = header.sh_addr,
		.size = header.sh_size,
		.file = file,
	};
	return true;
}

/* gdb's manual, "Separate Debug Files": a name, padding to 4 bytes, a CRC-32. */
bool elf_file_debug_link(const struct elf_file *file, const char **name, uint32_t *checksum)
{
	GElf_Shdr header;
	Elf_Scn *section = find_section(file, ".gnu_debuglink", &header);
	Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
	size_t length;

	if (!data || !data->d_buf)
		return false;
	length = strnlen(data->d_buf, data->d_size);
	if (round_up(length + 1, 4) + 4 > data->d_size)
		return false;
	*name = data->d_buf;
	*checksum = load_u32((const char *)data->d_buf + round_up(length + 1, 4));
	return true;
}

/* dwz(1): a name, then the build id, up to the end of the section. */
bool elf_file_alt_link(const struct elf_file *file, const char **name, struct build_id *id)
{
	GElf_Shdr header;
	Elf_Scn *section = find_section(file, ".gnu_debugaltlink", &header);
	Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
	size_t length;

	if (!data || !data->d_buf)
		return false;
	length = strnlen(data->d_buf, data->d_size);
	if (!length || length + 1 >= data->d_size)
		return false;
	*name = data->d_buf;
	id->size = MIN(data->d_size - length - 1, (size_t)BUILD_ID_MAX);
	memcpy(id->bytes, (const char *)data->d_buf + length + 1, id->size);
	return true;
}

/* Unpacks xz; how many bytes that makes, 0 when they are more than `size` or the data is damaged.
 */
static size_t unpack(const Elf_Data *data, uint8_t *bytes, size_t size)
{
	uint64_t memory = MINI_DEBUG_MEMORY;
	size_t in = 0, out = 0;

	return lzma_stream_buffer_decode(&memory, 0, NULL, data->d_buf, &in, data->d_size, bytes,
					 &out, size) == LZMA_OK
		       ? out
		       : 0;
}

struct elf_file *elf_file_mini_debug(const struct elf_file *file)
{
	GElf_Shdr header;
	Elf_Scn *section = find_section(file, ".gnu_debugdata", &header);
	Elf_Data *data = section ? elf_rawdata(section, NULL) : NULL;
	struct memheap_error *error;
	void *bytes;

	_cleanup_(elf_file_cleanup) struct elf_file *mini = calloc(1, sizeof(*mini));
	if (!data || !data->d_buf || !mini ||
	    asprintf(&mini->path, "%s (.gnu_debugdata)", file->path) < 0)
		return NULL;
	bytes = mmap(NULL, MINI_DEBUG_MAX, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return NULL;
	mini->size = MAX(unpack(data, bytes, MINI_DEBUG_MAX), 1UL);
	mini->bytes = mremap(bytes, MINI_DEBUG_MAX, mini->size, 0);
	error = parse(mini);
	if (!error)
		return take(mini);
	memheap_error_destroy(error);
	return NULL;
}

bool elf_file_has_dwarf(const struct elf_file *file)
{
	GElf_Shdr header;

	return find_section(file, ".debug_info", &header) && header.sh_type != SHT_NOBITS;
}
