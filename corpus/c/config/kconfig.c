/* Values the loader takes from the kernel's release and configuration. */
#include "ctx.h"

extern u32 LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern u32 CONFIG_HZ __attribute__((section(".kconfig"))) WEAK;
extern u32 CONFIG_NO_SUCH_OPTION __attribute__((section(".kconfig"))) WEAK;

u64 ticks;

SEC("tc")
int by_release(struct __sk_buff *skb)
{
	if (LINUX_KERNEL_VERSION < 0x050000)
		return TC_SHOT;
	if (CONFIG_NO_SUCH_OPTION)
		return TC_SHOT;
	ticks = CONFIG_HZ;
	return TC_OK;
}
LICENSE("GPL");
