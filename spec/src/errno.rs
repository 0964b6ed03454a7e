//! Names of the error numbers that a load can end with (`include/uapi/asm-generic/errno*.h`, `include/linux/errno.h`).

const NAMES: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (24, "EMFILE"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (34, "ERANGE"),
    (35, "EDEADLK"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (40, "ELOOP"),
    (61, "ENODATA"),
    (71, "EPROTO"),
    (75, "EOVERFLOW"),
    (84, "EILSEQ"),
    (95, "EOPNOTSUPP"),
    (110, "ETIMEDOUT"),
    (126, "ENOKEY"),
    (512, "ERESTARTSYS"),
    (524, "ENOTSUPP"),
];

/// `EINVAL` for 22; a number without a name as `errno 4095`.
pub fn name(errno: i32) -> std::borrow::Cow<'static, str> {
    match NAMES.iter().find(|(n, _)| *n == errno) {
        Some((_, name)) => (*name).into(),
        None => format!("errno {errno}").into(),
    }
}
