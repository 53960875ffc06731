// Loaded before the C library (LD_PRELOAD), so that SIGTERM comes in the very moment in which its first handler is installed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

int sigaction(int number, const struct sigaction *new, struct sigaction *old) {
    static int sent = 0;
    int (*libc)(int, const struct sigaction *, struct sigaction *) = dlsym(RTLD_NEXT, "sigaction");
    int result = libc(number, new, old);
    if (number == SIGTERM && new != NULL && new->sa_handler != SIG_DFL && !sent) {
        sent = 1;
        kill(getpid(), SIGTERM);
    }
    return result;
}
