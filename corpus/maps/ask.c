/* Asks the running kernel, through libbpf, for the maps of this folder's objects.
 *
 *     gcc -O2 -o ask ask.c -lbpf -lelf -lz
 *     sudo ./ask objects/[a-z]*.o > answers/$(uname -r | cut -d- -f1).txt
 *
 * An object whose name begins with slot_ is loaded whole, programs included: one line.  Of any other object each map is
 * created alone.  A line is an object, a map (`*` for the whole), and `ok` or the errno.  Nothing is attached or pinned.
 * As init of a virtual machine it reads the objects of /b and writes to the console.
 */
#define _GNU_SOURCE
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <unistd.h>

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static const char *answer(int err)
{
	static char number[12];

	switch (-err) {
	case 0: return "ok";
	case EPERM: return "EPERM";
	case ENOENT: return "ENOENT";
	case E2BIG: return "E2BIG";
	case EBADF: return "EBADF";
	case ENOMEM: return "ENOMEM";
	case EACCES: return "EACCES";
	case EINVAL: return "EINVAL";
	case ERANGE: return "ERANGE";
	case EOPNOTSUPP: return "EOPNOTSUPP";
	case 524: return "ENOTSUPP";
	}
	snprintf(number, sizeof(number), "%d", -err);
	return number;
}

/* Only the map called `only`, without programs; everything if it is NULL. */
static int load(const char *path, const char *only)
{
	struct bpf_object *obj = bpf_object__open(path);
	struct bpf_program *prog;
	struct bpf_map *map;
	int err;

	if (!obj)
		return -errno;
	if (only) {
		bpf_object__for_each_program(prog, obj)
			bpf_program__set_autoload(prog, false);
		bpf_object__for_each_map(map, obj)
			bpf_map__set_autocreate(map, !strcmp(bpf_map__name(map), only));
	}
	err = bpf_object__load(obj);
	bpf_object__close(obj);
	return err;
}

static void ask(const char *path)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct bpf_object *obj;
	struct bpf_map *map;

	if (!strncmp(name, "slot_", 5)) {
		printf("%s * %s\n", name, answer(load(path, NULL)));
		return;
	}
	obj = bpf_object__open(path);
	if (!obj) {
		printf("%s * unread\n", name);
		return;
	}
	bpf_object__for_each_map(map, obj)
		printf("%s %s %s\n", name, bpf_map__name(map), answer(load(path, bpf_map__name(map))));
	bpf_object__close(obj);
}

int main(int argc, char **argv)
{
	struct dirent **list;
	struct utsname u;
	int i, n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(silent);
	uname(&u);
	printf("# maps as %s (%s) creates them\n", u.release, u.machine);
	for (i = 1; i < argc && getpid() != 1; i++)
		ask(argv[i]);
	if (getpid() == 1) {
		mount("proc", "/proc", "proc", 0, NULL);
		mount("sysfs", "/sys", "sysfs", 0, NULL);
		n = scandir("/b", &list, NULL, alphasort);
		for (i = 0; i < n; i++)
			if (*list[i]->d_name != '.') {
				char path[300];

				snprintf(path, sizeof(path), "/b/%s", list[i]->d_name);
				ask(path);
			}
		printf("# done\n");
		fflush(stdout);
		reboot(RB_POWER_OFF);
	}
	return 0;
}
