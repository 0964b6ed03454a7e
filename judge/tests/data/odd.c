/* Programs that some loader refuses, beside one that all take. */
#include "base.h"
extern int no_such_function(void) WEAK __attribute__((section(".ksyms")));
extern int no_such_strong_function(void) __attribute__((section(".ksyms")));
extern u32 CONFIG_NO_SUCH_OPTION __attribute__((section(".kconfig")));
u64 here SEC(".elsewhere") = 1;

static SEC("xdp") int is_static(void *ctx) { return 2; }
SEC("xdp") int plain(void *ctx) { return 2; }
SEC("nobody/knows") int unknown_section(void *ctx) { return 0; }
SEC("xdp") int odd_variable(void *ctx) { return here; }
SEC("tc") int weak_function(void *ctx) { return no_such_function ? no_such_function() : 0; }
SEC("tc") int strong_function(void *ctx) { return no_such_strong_function(); }
SEC("tc") int strong_option(void *ctx) { return CONFIG_NO_SUCH_OPTION; }
LICENSE("GPL");
