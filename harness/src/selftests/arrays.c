/* Prints the tests of a kernel tree's test_verifier.c instead of running them.
 *
 * The tree's own file is included, so that its fixups and generated programs are what is printed; the calls it makes
 * into libbpf end in the functions below, which write down what they are handed.  Nothing is loaded anywhere.
 *
 * One line per fact, fields between tabs, texts and bytes in hexadecimal.
 */
#define main main_of_the_tree
#include "test_verifier.c"
#undef main

static FILE *out;
static int next_fd = 0x10000;
static int next_name;

static void hex(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;

	fputc('\t', out);
	while (n--)
		fprintf(out, "%02x", *b++);
}

static void text(const char *s)
{
	hex(s ? s : "", s ? strlen(s) : 0);
}

int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key, __u32 value, __u32 entries,
		   const struct bpf_map_create_opts *opts)
{
	int fd = next_fd++;

	fprintf(out, "map\t%d\t%u\t%u\t%u\t%u\t%u\t%d\t%u\t%u\t%d", fd, type, key, value, entries,
		opts ? opts->map_flags : 0, opts ? (int)opts->btf_fd : 0,
		opts ? opts->btf_key_type_id : 0, opts ? opts->btf_value_type_id : 0,
		opts ? (int)opts->inner_map_fd : 0);
	text(name);
	fputc('\n', out);
	return fd;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	return 0;
}

int bpf_btf_load(const void *data, size_t size, struct bpf_btf_load_opts *opts)
{
	int fd = next_fd++;

	fprintf(out, "btf\t%d", fd);
	hex(data, size);
	fputc('\n', out);
	return fd;
}

struct btf *btf__load_vmlinux_btf(void)
{
	return (struct btf *)&next_name;
}

static int name_of(const char *what, const char *name)
{
	int id = 0x40000000 + next_name++;

	fprintf(out, "%s\t%d", what, id);
	text(name);
	fputc('\n', out);
	return id;
}

__s32 btf__find_by_name_kind(const struct btf *btf, const char *name, __u32 kind)
{
	return name_of("kfunc", name);
}

int libbpf_find_vmlinux_btf_id(const char *name, enum bpf_attach_type type)
{
	return name_of("attach", name);
}

int libbpf_probe_bpf_prog_type(enum bpf_prog_type type, const void *opts)
{
	return 1;
}

int libbpf_probe_bpf_map_type(enum bpf_map_type type, const void *opts)
{
	return 1;
}

int testing_prog_flags(void)
{
	return BPF_F_TEST_RND_HI32 | BPF_F_TEST_REG_INVARIANTS;
}

int bpf_prog_load(enum bpf_prog_type type, const char *name, const char *license, const struct bpf_insn *insns,
		  size_t cnt, struct bpf_prog_load_opts *opts)
{
	__u32 i;

	/* The programs of a program array; no verdict looks at them. */
	if (!opts)
		return next_fd++;
	fprintf(out, "load\t%u\t%u\t%u\t%u\t%d\t%d", type, opts->expected_attach_type, opts->prog_flags,
		opts->log_level, (int)opts->attach_btf_id, (int)opts->prog_btf_fd);
	hex(insns, cnt * sizeof(*insns));
	fputc('\n', out);
	for (i = 0; i < opts->func_info_cnt; i++) {
		const struct bpf_func_info *f = (const struct bpf_func_info *)opts->func_info + i;

		fprintf(out, "func\t%u\t%u\n", f->insn_off, f->type_id);
	}
	/* The tree skips a test whose load fails so. */
	errno = 524;
	return -1;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc != 2 || !(out = fopen(argv[1], "w")))
		return 1;
	srand(1);
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		struct bpf_test *t = &tests[i];
		int passes = 0, errors = 0;

		fprintf(out, "test\t%d\t%u", (int)t->result, t->insn_processed);
		text(t->descr);
		text(t->errstr);
		hex(t->data, sizeof(t->data));
		fprintf(out, "\t%d", (int)t->result_unpriv);
		/* An empty text is no message; without one it is as for root. */
		if (t->errstr_unpriv)
			text(t->errstr_unpriv);
		else
			fputs("\t-", out);
		fprintf(out, "\t%d\n", test_as_unpriv(t));
		do_test_single(t, false, &passes, &errors);
		/* Generated tests say only now what they return. */
		fprintf(out, "result\t%d\t%u\n", t->runs, t->retval);
	}
	return fclose(out) ? 1 : 0;
}
