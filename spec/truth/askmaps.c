/* Asks the running kernel for the map definitions of `record.py mixed`: for machines without Python.
 *
 *     gcc -O2 -static -o askmaps askmaps.c
 *     cut -d' ' -f1-8 6.18.44/mixed.txt | ./askmaps > 6.18.15/mixed.txt
 *
 * As init of a virtual machine it reads /definitions and writes to the console.
 * A line in is a type, key size, value size, entries, flags (hexadecimal), extra, node, and `btf` or `-`; the same line
 * comes out with the answer behind it.  Each map is closed at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *types[] = {
	"unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array", "stack_trace",
	"cgroup_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap",
	"cpumap", "xskmap", "sockhash", "cgroup_storage", "reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack",
	"sk_storage", "devmap_hash", "struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter",
	"user_ringbuf", "cgrp_storage", "arena",
};

struct create {
	uint32_t type, key, value, entries, flags, inner_fd, node;
	char name[16];
	uint32_t ifindex, btf_fd, btf_key, btf_value, btf_vmlinux_value;
	uint64_t extra;
	uint32_t unused[4];
};

/* A BTF whose type 1 is a 4-byte int and whose type 3 has `size` bytes. */
static int btf_of(uint32_t size)
{
	static const char strings[] = "\0int\0char";
	uint32_t words[] = {
		0x0001eb9f, 24, 0, 14 * 4, 14 * 4, sizeof(strings),
		1, 1u << 24, 4, 32,
		5, 1u << 24, 1, 8,
		0, 3u << 24, 0, 2, 1, size,
	};
	char blob[sizeof(words) + sizeof(strings)];
	struct { uint64_t data, log; uint32_t size, log_size, log_level, pad; } attr = { (uintptr_t)blob, 0, sizeof(blob) };

	memcpy(blob, words, sizeof(words));
	memcpy(blob + sizeof(words), strings, sizeof(strings));
	return syscall(SYS_bpf, 18, &attr, 32);
}

static int create(const struct create *c)
{
	return syscall(SYS_bpf, 0, c, 72);
}

static const char *name_of(int e)
{
	static char number[12];

	switch (e) {
	case EPERM: return "EPERM";
	case ENOENT: return "ENOENT";
	case E2BIG: return "E2BIG";
	case EBADF: return "EBADF";
	case ENOMEM: return "ENOMEM";
	case EFAULT: return "EFAULT";
	case EINVAL: return "EINVAL";
	case ERANGE: return "ERANGE";
	case EOPNOTSUPP: return "EOPNOTSUPP";
	case 524: return "ENOTSUPP";
	}
	snprintf(number, sizeof(number), "%d", e);
	return number;
}

static void answer(const char *type, struct create c, int with_btf)
{
	static struct create inner = { .type = BPF_MAP_TYPE_ARRAY, .key = 4, .value = 4, .entries = 1 };
	int inner_fd = -1, btf_fd = -1, fd;

	for (c.type = 0; c.type < sizeof(types) / sizeof(*types); c.type++)
		if (!strcmp(types[c.type], type))
			break;
	if (strstr(type, "_of_maps"))
		c.inner_fd = inner_fd = create(&inner);
	if (strstr(type, "k_storage") || strstr(type, "inode_storage") || !strcmp(type, "cgrp_storage"))
		if (with_btf && c.value <= 1 << 24)
			btf_fd = btf_of(c.value);
	if (btf_fd >= 0) {
		c.btf_fd = btf_fd;
		c.btf_key = 1;
		c.btf_value = 3;
	}
	fd = create(&c);
	printf("%s\n", fd >= 0 ? "ok" : name_of(errno));
	if (fd >= 0)
		close(fd);
	if (btf_fd >= 0)
		close(btf_fd);
	if (inner_fd >= 0)
		close(inner_fd);
}

int main(void)
{
	FILE *in = getpid() == 1 ? fopen("/definitions", "r") : stdin;
	struct utsname u;
	char line[512], type[64], btf[8];
	struct create c = { 0 };

	uname(&u);
	printf("# mixed as %s (%s) judges them\n", u.release, u.machine);
	while (in && fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = 0;
		if (*line == '#')
			continue;
		if (sscanf(line, "%63s %u %u %u %x %lu %u %7s", type, &c.key, &c.value, &c.entries, &c.flags, &c.extra, &c.node, btf) != 8)
			continue;
		printf("%s ", line);
		answer(type, c, *btf == 'b');
	}
	fflush(stdout);
	if (getpid() == 1) {
		printf("# done\n");
		fflush(stdout);
		sync();
		reboot(RB_POWER_OFF);
	}
	return 0;
}
