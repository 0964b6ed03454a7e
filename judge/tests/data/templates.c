/* Programs whose target the application sets (`bpf_program__set_attach_target`), or whose type it sets. */
#include "base.h"

/* Reads its second argument: bpf_fentry_test1 has one, bpf_fentry_test2 has two. */
#define SECOND(name) int name(void *ctx) { return *(volatile u64 *)(ctx + 8) & 0; }

SEC("fentry/XXX") SECOND(template)
SEC("fentry") SECOND(bare)
SEC("fentry/bpf_fentry_test1") SECOND(named)
SEC("lsm/XXX") int hook(void *ctx) { return 0; }
SEC("tp_btf/XXX") int raw(void *ctx) { return 0; }
SEC("xdp") int plain(void *ctx) { return 2; }
SEC("mine") int untyped(void *ctx) { return 0; }
LICENSE("GPL");
