# The flags every file of ours is compiled with. Warnings are errors: a warning that is
# tolerated once is read by nobody afterwards.
include(CheckCCompilerFlag)

set(SEGUE_WARNINGS
    -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wmissing-prototypes
    -Wstrict-prototypes -Wswitch-enum -Wvla -Wformat=2 -Wundef -Wnull-dereference
    -Wimplicit-fallthrough -Wpointer-arith -Wwrite-strings)

# Hardening for builds that people run; each flag is probed because compilers differ.
set(SEGUE_HARDENING "")
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
             -ftrivial-auto-var-init=zero -fstrict-flex-arrays=3)
    string(MAKE_C_IDENTIFIER "HAVE${flag}" var)
    check_c_compiler_flag(${flag} ${var})
    if(${var})
        list(APPEND SEGUE_HARDENING ${flag})
    endif()
endforeach()
