/* An enumerator's value from the running kernel. */
#include "ctx.h"
#include "kernel.h"

enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID,
	PIDTYPE_PGID,
	PIDTYPE_SID,
};
enum pid_type___none {
	NO_SUCH_PIDTYPE = 99,
};

u64 value;
int have;

SEC("kprobe/do_exit")
int enumerators(struct pt_regs *ctx)
{
	if (CORE_ENUM_EXISTS(enum pid_type, PIDTYPE_SID))
		value = CORE_ENUM_VALUE(enum pid_type, PIDTYPE_SID);
	have = CORE_ENUM_EXISTS(enum pid_type___none, NO_SUCH_PIDTYPE);
	return 0;
}
LICENSE("GPL");
