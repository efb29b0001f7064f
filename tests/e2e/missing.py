"""Runs a program as on a machine whose kernel lacks Landlock or seccomp: missing.py landlock|seccomp[,...] PROGRAM [ARGUMENT...]. A filter by
libseccomp answers for the kernel, to all that the program starts as well."""
import ctypes
import errno
import os
import sys

ALLOW, REFUSE = 0x7fff0000, 0x00050000  # seccomp.h: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
EQUAL = 4                               # SCMP_CMP_EQ
PR_SET_SECCOMP = 22


class Argument(ctypes.Structure):
    _fields_ = [("number", ctypes.c_uint), ("compare", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def main():
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument)]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    what = ctypes.c_void_p(library.seccomp_init(ALLOW))

    def refuse(call, *arguments):
        number = library.seccomp_syscall_resolve_name(call)
        if library.seccomp_rule_add_array(what, REFUSE | errno.ENOSYS, number, len(arguments), (Argument * 1)(*arguments)):
            sys.exit(f"missing.py: no rule for {call.decode()}")

    for part in sys.argv[1].split(","):
        if part == "landlock":
            refuse(b"landlock_create_ruleset")
        elif part == "seccomp":
            refuse(b"seccomp")
            refuse(b"prctl", Argument(0, EQUAL, PR_SET_SECCOMP, 0))
        else:
            sys.exit(f"missing.py: {part}?")
    if library.seccomp_load(what):
        sys.exit("missing.py: the filter can't be loaded")
    os.execv(sys.argv[2], sys.argv[2:])


main()
