/* String functions of the kernel on text in maps and in constant data. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

const char line[] = "GET /index.html HTTP/1.1";
char own[16];
int answers[12];

SEC("tc")
int compare(struct __sk_buff *skb)
{
	int i, digest = 0;

	for (i = 0; i < 15; i++)
		own[i] = 'A' + (skb->len + i) % 26;
	own[14] = 0;
	answers[0] = bpf_strcmp(own, "NOPE");
	answers[1] = bpf_strcasecmp(line, "get /INDEX.html http/1.1");
	answers[2] = bpf_strchr(own, 'Z');
	answers[3] = bpf_strnchr(line, 4, '/');
	answers[4] = bpf_strrchr(line, '.');
	answers[5] = bpf_strnlen(own, 9);
	answers[6] = bpf_strspn(own, "ABCDEFGHIJKLMNOPQR");
	answers[7] = bpf_strcspn(line, "./");
	answers[8] = bpf_strstr(line, "html");
	answers[9] = bpf_strnstr(line, "html", 12);
	answers[10] = bpf_strnstr(line, "html", 15);
	answers[11] = bpf_strstr(line, "");
	for (i = 0; i < 12; i++)
		digest = digest * 31 + answers[i];
	return digest;
}
LICENSE("GPL");
